/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COUNTER_H
#define COUNTER_H

#include <stdint.h>
#include <tee_api_types.h>

/* The sealed counter's value; 0 when there is none yet. */
TEE_Result counter_read(uint64_t *value);

/* Adds one, durably, and gives the new value. On any error the stored value is unchanged. */
TEE_Result counter_increment(uint64_t *value);

#endif
