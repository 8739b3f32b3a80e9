global-incdirs-y += .
srcs-y += entropy_ta.c
