# Sources of the enclave, one srcs-y line each.
global-incdirs-y += .
cflags-y += -Wall -Wextra
srcs-y += sample.c
srcs-y += counter.c
srcs-y += measure.c
