/* The little of a C library that the helper uses, on the kernel's own calls.
 *
 * A static glibc makes the helper thirty times as large, and it is sent to a box after each restore.
 * Declared by the usual headers, so that the same sources run on a real C library too: that is how
 * the tests run them under sanitizers.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KERNEL_SIGSET_SIZE 8u
#define LONGEST_PATH 4096u

int main(int argc, char **argv);

static char **environment;
static int last_error;

int *__errno_location(void)
{
	return &last_error;
}

#if defined(__aarch64__)

__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x0, sp\n\tb begin\n");

static long kernel(long number, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory", "cc");
	return x0;
}

#elif defined(__x86_64__)

__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n");

static long kernel(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory", "cc");
	return result;
}

#else
#error "the helper is made for aarch64 and x86_64"
#endif

#define ADDRESS(pointer) ((long)(uintptr_t)(pointer))

static long call(long number, long a, long b, long c, long d, long e, long f)
{
	long result = kernel(number, a, b, c, d, e, f);

	if (result < 0 && result > -4096) {
		last_error = (int)-result;
		return -1;
	}
	return result;
}

__attribute__((used, noreturn)) static void begin(long *stack)
{
	int argc = (int)stack[0];
	char **argv = (char **)(stack + 1);

	environment = argv + argc + 1;
	_exit(main(argc, argv));
}

void _exit(int status)
{
	for (;;)
		kernel(SYS_exit_group, status, 0, 0, 0, 0, 0);
}

void exit(int status)
{
	_exit(status);
}

ssize_t read(int fd, void *to, size_t size)
{
	return call(SYS_read, fd, ADDRESS(to), (long)size, 0, 0, 0);
}

ssize_t write(int fd, const void *from, size_t size)
{
	return call(SYS_write, fd, ADDRESS(from), (long)size, 0, 0, 0);
}

int close(int fd)
{
	return (int)call(SYS_close, fd, 0, 0, 0, 0, 0);
}

int open(const char *path, int flags, ...)
{
	return (int)call(SYS_openat, AT_FDCWD, ADDRESS(path), flags, 0, 0, 0);
}

int rename(const char *from, const char *to)
{
	return (int)call(SYS_renameat2, AT_FDCWD, ADDRESS(from), AT_FDCWD, ADDRESS(to), 0, 0);
}

int fcntl(int fd, int command, ...)
{
	va_list rest;
	int argument;

	va_start(rest, command);
	argument = va_arg(rest, int);
	va_end(rest);
	return (int)call(SYS_fcntl, fd, command, argument, 0, 0, 0);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list rest;
	void *argument;

	va_start(rest, request);
	argument = va_arg(rest, void *);
	va_end(rest);
	return (int)call(SYS_ioctl, fd, (long)request, ADDRESS(argument), 0, 0, 0);
}

int pipe2(int ends[2], int flags)
{
	return (int)call(SYS_pipe2, ADDRESS(ends), flags, 0, 0, 0, 0);
}

int dup2(int from, int to)
{
	return (int)call(SYS_dup3, from, to, 0, 0, 0, 0);
}

int poll(struct pollfd *fds, nfds_t count, int milliseconds)
{
	struct timespec left = { milliseconds / 1000, (long)(milliseconds % 1000) * 1000000 };

	return (int)call(SYS_ppoll, ADDRESS(fds), (long)count,
			 milliseconds < 0 ? 0 : ADDRESS(&left), 0, KERNEL_SIGSET_SIZE, 0);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	return (void *)(uintptr_t)call(SYS_mmap, ADDRESS(at), (long)size, protection, flags, fd, offset);
}

int munmap(void *at, size_t size)
{
	return (int)call(SYS_munmap, ADDRESS(at), (long)size, 0, 0, 0, 0);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	return (int)call(SYS_clock_gettime, clock, ADDRESS(now), 0, 0, 0, 0);
}

/* The child runs on our stack: where it returns to must not lie there. */
#if defined(__aarch64__)
__asm__(".globl vfork\n.type vfork, %function\nvfork:\n"
	"\tmov x0, #0x4111\n"	/* CLONE_VFORK | CLONE_VM | SIGCHLD */
	"\tmov x1, #0\n\tmov x8, #220\n\tsvc #0\n"
	"\tcmn x0, #4095\n\tb.cs no_child\n\tret\n");
#else
__asm__(".globl vfork\n.type vfork, @function\nvfork:\n"
	"\tpop %rdx\n\tmov $58, %eax\n\tsyscall\n\tpush %rdx\n"
	"\tmov %rax, %rdi\n\tcmp $-4095, %rax\n\tjae no_child\n\tret\n");
#endif

__attribute__((used)) static long no_child(long error)
{
	last_error = (int)-error;
	return -1;
}

pid_t setsid(void)
{
	return (pid_t)call(SYS_setsid, 0, 0, 0, 0, 0, 0);
}

pid_t waitpid(pid_t pid, int *status, int options)
{
	return (pid_t)call(SYS_wait4, pid, ADDRESS(status), options, 0, 0, 0);
}

int kill(pid_t pid, int number)
{
	return (int)call(SYS_kill, pid, number, 0, 0, 0, 0);
}

int prctl(int option, ...)
{
	va_list rest;
	int argument;

	va_start(rest, option);
	argument = va_arg(rest, int);
	va_end(rest);
	return (int)call(SYS_prctl, option, argument, 0, 0, 0, 0);
}

/* The first word of a sigset_t is all that the kernel looks at. */
int sigemptyset(sigset_t *set)
{
	memset(set, 0, sizeof(*set));
	return 0;
}

int sigaddset(sigset_t *set, int number)
{
	*(unsigned long *)(void *)set |= 1ul << (number - 1);
	return 0;
}

int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	return (int)call(SYS_rt_sigprocmask, how, ADDRESS(set), ADDRESS(old), KERNEL_SIGSET_SIZE, 0, 0);
}

/* Only for SIG_IGN and SIG_DFL: nothing here returns from a handler. */
sighandler_t signal(int number, sighandler_t what)
{
	struct {
		sighandler_t handler;
		unsigned long flags;
		void *restorer;
		unsigned long mask;
	} action = { what, 0, NULL, 0 };

	if (call(SYS_rt_sigaction, number, ADDRESS(&action), 0, KERNEL_SIGSET_SIZE, 0, 0) < 0)
		return SIG_ERR;
	return SIG_DFL;
}

int signalfd(int fd, const sigset_t *set, int flags)
{
	return (int)call(SYS_signalfd4, fd, ADDRESS(set), KERNEL_SIGSET_SIZE, flags, 0, 0);
}

static const char *variable(const char *name, size_t size)
{
	for (char **entry = environment; *entry; entry++) {
		size_t i = 0;

		while (i < size && (*entry)[i] == name[i])
			i++;
		if (i == size && (*entry)[size] == '=')
			return *entry + size + 1;
	}
	return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

/* A text file without an interpreter line is a shell script, as POSIX has it. */
static void execute(char *path, char *const words[])
{
	static char *script[4098];
	size_t i = 0;

	call(SYS_execve, ADDRESS(path), ADDRESS(words), ADDRESS(environment), 0, 0, 0);
	if (last_error != ENOEXEC)
		return;
	script[0] = (char *)(uintptr_t) "/bin/sh";
	script[1] = path;
	while (words[0] && words[++i] && i < 4096)
		script[i + 1] = words[i];
	script[i + 1] = NULL;
	call(SYS_execve, ADDRESS(script[0]), ADDRESS(script), ADDRESS(environment), 0, 0, 0);
}

int execvp(const char *name, char *const words[])
{
	static char path[LONGEST_PATH];
	const char *from = variable("PATH", 4);
	size_t length = strlen(name);
	int refused = ENOENT;

	if (memchr(name, '/', length)) {
		execute((char *)(uintptr_t)name, words);
		return -1;
	}
	for (;;) {
		size_t size = 0;

		while (from[size] && from[size] != ':')
			size++;
		if (size + length + 2 <= sizeof(path)) {
			memcpy(path, from, size);
			path[size] = '/';
			memcpy(path + size + (size != 0), name, length + 1);
			/* Asking is much cheaper than an execve() that fails. */
			if (call(SYS_faccessat, AT_FDCWD, ADDRESS(path), X_OK, 0, 0, 0) >= 0 ||
			    last_error == EACCES)
				execute(path, words);
			if (last_error == EACCES)
				refused = EACCES;
			else if (last_error != ENOENT && last_error != ENOTDIR)
				return -1;
		}
		if (!from[size])
			break;
		from += size + 1;
	}
	last_error = refused;
	return -1;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
	return memmove(to, from, size);
}

/* By words, at any address: both machines allow that, and large payloads pass here. */
typedef uint64_t __attribute__((aligned(1), may_alias)) word;

void *memmove(void *to, const void *from, size_t size)
{
	uint8_t *out = to;
	const uint8_t *in = from;

	if (out <= in || out >= in + size) {
		for (; size >= sizeof(word); size -= sizeof(word)) {
			*(word *)out = *(const word *)in;
			out += sizeof(word);
			in += sizeof(word);
		}
		while (size--)
			*out++ = *in++;
		return to;
	}
	while (size--)
		out[size] = in[size];
	return to;
}

void *memset(void *to, int value, size_t size)
{
	uint8_t *out = to;
	uint64_t filled = (uint8_t)value * 0x0101010101010101ull;

	for (; size >= sizeof(word); size -= sizeof(word), out += sizeof(word))
		*(word *)out = filled;
	while (size--)
		*out++ = (uint8_t)value;
	return to;
}

void explicit_bzero(void *at, size_t size)
{
	memset(at, 0, size);
}

void *memchr(const void *in, int wanted, size_t size)
{
	const uint8_t *at = in;

	for (; size; size--, at++)
		if (*at == (uint8_t)wanted)
			return (void *)(uintptr_t)at;
	return NULL;
}

size_t strlen(const char *text)
{
	size_t size = 0;

	while (text[size])
		size++;
	return size;
}
