/* The helper on a serial line: a reliable stream of bytes each way, see uart_frame.h. */
#ifndef TRUSTBOX_UART_H
#define TRUSTBOX_UART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

long now_ms(void);

/* uart.c: the line */
bool uart_start(uint32_t nonce);	/* stdin is the line; a tty is made raw */
bool uart_used(void);
int uart_fd(void);
int uart_fd_out(void);
bool uart_wants_to_write(void);
int uart_wait_ms(void);			/* until something is to be done, -1: nothing */
bool uart_read(uint8_t *inbox, size_t *filled, size_t room);	/* false: the line ended */
bool uart_pump(void);			/* sends what is due; false: the line ended */
void uart_end(void);			/* the tty as a shell wants it */

/* uart_out.c: what goes to the host and is kept until it is acknowledged */
void out_acknowledged(uint32_t ack, uint16_t seen, const uint8_t *ranges, size_t size);
void out_collect(void);			/* takes what the helper has to say */
bool out_due(const uint8_t **at, size_t *size, uint32_t *offset, uint16_t *tx, bool *last);
int out_wait_ms(void);
bool out_waits(void);			/* something is not acknowledged */
void out_host_silent(bool silent);	/* nobody listens: nothing is sent again */

/* uart_in.c: what comes from the host, put in order */
void in_data(uint32_t offset, const uint8_t *bytes, size_t size, uint8_t *inbox, size_t *filled,
	     size_t room);
uint32_t in_expected(void);
size_t in_ranges(uint8_t *to);		/* what lies beyond a gap; bytes used */

#endif
