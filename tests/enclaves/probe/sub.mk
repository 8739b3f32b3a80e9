global-incdirs-y += .
cflags-y += -Wall -Wextra
srcs-y += probe.c
