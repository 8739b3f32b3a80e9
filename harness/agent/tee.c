/* The GlobalPlatform client calls on the kernel's own interface (include/uapi/linux/tee.h). */
#include <errno.h>
#include <fcntl.h>
#include <linux/tee.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent.h"

#define SHARED_ALIGNMENT 64u
#define UUID_SIZE 16u
#define OPEN_SIZE (sizeof(struct tee_ioctl_open_session_arg) + TEE_PARAMS * sizeof(struct tee_ioctl_param))

/* Value and memref types follow each other: 1 to 3 and 5 to 7, in, out, in and out. */
#define IS_VALUE(type) ((type) >= 1 && (type) <= 3)
#define IS_MEMREF(type) ((type) >= 5 && (type) <= 7)
#define GOES_IN(type) (((type) & 3) != 2)
#define COMES_OUT(type) (((type) & 3) != 1)

struct call {
	struct tee_ioctl_param params[TEE_PARAMS];
	const uint8_t *data[TEE_PARAMS];
	uint32_t room[TEE_PARAMS];
	size_t total;
	int shared_fd;
	uint8_t *shared;
	size_t mapped;
};

static const char *device_path = "/dev/tee0";
static int device = -1;
static uint32_t sessions[MAX_SESSIONS];
static size_t session_count;

void tee_use(const char *path)
{
	device_path = path;
}

static bool opened(uint32_t request)
{
	if (device < 0)
		device = open(device_path, O_RDWR | O_CLOEXEC);
	if (device < 0)
		send_refused(request, REFUSED_SYSTEM, errno, "the TEE device cannot be opened");
	return device >= 0;
}

/* Reads the parameters, and lays their buffers out one after another. */
static bool read_params(uint32_t request, struct cursor *from, struct call *call)
{
	memset(call, 0, sizeof(*call));
	call->shared_fd = -1;
	for (size_t i = 0; i < TEE_PARAMS; i++) {
		struct tee_ioctl_param *param = &call->params[i];
		uint32_t type = take_u32(from);

		param->attr = type;
		if (IS_VALUE(type)) {
			param->a = take_u32(from);
			param->b = take_u32(from);
		} else if (IS_MEMREF(type)) {
			uint32_t size = take_u32(from);

			if (size > MAX_SHARED || call->total > MAX_SHARED - size) {
				send_refused(request, REFUSED_SIZE, 0, "too much shared memory");
				return false;
			}
			if (GOES_IN(type))
				call->data[i] = take_bytes(from, size);
			param->a = call->total;
			param->b = call->room[i] = size;
			call->total += (size + SHARED_ALIGNMENT - 1) & ~(size_t)(SHARED_ALIGNMENT - 1);
		} else if (type) {
			from->bad = true;
		}
	}
	if (from->bad || from->left) {
		send_refused(request, REFUSED_PAYLOAD, 0, "not a list of parameters");
		return false;
	}
	return true;
}

static bool share(uint32_t request, struct call *call)
{
	struct tee_ioctl_shm_alloc_data alloc = { .size = call->total ? call->total : SHARED_ALIGNMENT };
	bool wanted = false;

	for (size_t i = 0; i < TEE_PARAMS; i++)
		wanted = wanted || IS_MEMREF(call->params[i].attr);
	if (!wanted)
		return true;
	call->shared_fd = ioctl(device, TEE_IOC_SHM_ALLOC, &alloc);
	if (call->shared_fd >= 0) {
		call->mapped = (size_t)alloc.size;
		call->shared = mmap(NULL, call->mapped, PROT_READ | PROT_WRITE, MAP_SHARED,
				    call->shared_fd, 0);
	}
	if (call->shared_fd < 0 || call->shared == MAP_FAILED) {
		send_refused(request, REFUSED_SYSTEM, errno, "no shared memory");
		if (call->shared_fd >= 0)
			close(call->shared_fd);
		call->shared_fd = -1;
		return false;
	}
	memset(call->shared, 0, call->mapped);
	for (size_t i = 0; i < TEE_PARAMS; i++) {
		if (!IS_MEMREF(call->params[i].attr))
			continue;
		call->params[i].c = (uint64_t)alloc.id;
		if (call->data[i] && call->room[i])
			memcpy(call->shared + call->params[i].a, call->data[i], call->room[i]);
	}
	return true;
}

static void unshare(struct call *call)
{
	if (call->shared_fd < 0)
		return;
	/* Secrets may have passed. */
	explicit_bzero(call->shared, call->mapped);
	munmap(call->shared, call->mapped);
	close(call->shared_fd);
}

static void answer(uint32_t request, uint32_t code, uint32_t origin, uint32_t session,
		   const struct call *call, const struct tee_ioctl_param *after)
{
	frame_begin(FRAME_TEE_RESULT, request);
	put_u32(code);
	put_u32(origin);
	put_u32(session);
	for (size_t i = 0; i < TEE_PARAMS; i++) {
		uint32_t type = (uint32_t)call->params[i].attr;

		put_u32(type);
		if (IS_VALUE(type) && COMES_OUT(type)) {
			put_u32((uint32_t)after[i].a);
			put_u32((uint32_t)after[i].b);
		} else if (IS_MEMREF(type) && COMES_OUT(type)) {
			uint32_t size = (uint32_t)after[i].b;
			uint32_t given = size <= call->room[i] ? size : 0;

			put_u32(size);
			put_u32(given);
			if (given)
				put_bytes(call->shared + call->params[i].a, given);
		}
	}
	frame_end();
}

void tee_version(uint32_t request)
{
	struct tee_ioctl_version_data version = { 0 };

	if (!opened(request))
		return;
	if (ioctl(device, TEE_IOC_VERSION, &version) < 0) {
		send_refused(request, REFUSED_SYSTEM, errno, "the TEE tells no version");
		return;
	}
	frame_begin(FRAME_TEE_IS, request);
	put_u32(version.impl_id);
	put_u32(version.impl_caps);
	put_u32(version.gen_caps);
	frame_end();
}

void tee_open(uint32_t request, struct cursor payload)
{
	union {
		struct tee_ioctl_open_session_arg arg;
		uint8_t bytes[OPEN_SIZE];
	} open_call;
	struct tee_ioctl_buf_data buf = { .buf_ptr = (uintptr_t)&open_call, .buf_len = OPEN_SIZE };
	const uint8_t *uuid = take_bytes(&payload, UUID_SIZE);
	uint32_t login = take_u32(&payload);
	struct call call;

	if (!read_params(request, &payload, &call))
		return;
	if (session_count == MAX_SESSIONS) {
		send_refused(request, REFUSED_BUSY, 0, "too many sessions are open");
		return;
	}
	if (!opened(request) || !share(request, &call))
		return;
	memset(&open_call, 0, sizeof(open_call));
	memcpy(open_call.arg.uuid, uuid, UUID_SIZE);
	open_call.arg.clnt_login = login;
	open_call.arg.num_params = TEE_PARAMS;
	memcpy(open_call.arg.params, call.params, sizeof(call.params));
	if (ioctl(device, TEE_IOC_OPEN_SESSION, &buf) < 0) {
		send_refused(request, REFUSED_SYSTEM, errno, "the kernel refuses to open a session");
	} else {
		if (!open_call.arg.ret)
			sessions[session_count++] = open_call.arg.session;
		answer(request, open_call.arg.ret, open_call.arg.ret_origin, open_call.arg.session,
		       &call, open_call.arg.params);
	}
	unshare(&call);
}

static size_t find_session(uint32_t session)
{
	size_t i = 0;

	while (i < session_count && sessions[i] != session)
		i++;
	return i;
}

void tee_invoke(uint32_t request, struct cursor payload)
{
	union {
		struct tee_ioctl_invoke_arg arg;
		uint8_t bytes[sizeof(struct tee_ioctl_invoke_arg) +
			      TEE_PARAMS * sizeof(struct tee_ioctl_param)];
	} invoke;
	struct tee_ioctl_buf_data buf = { .buf_ptr = (uintptr_t)&invoke, .buf_len = sizeof(invoke) };
	uint32_t session = take_u32(&payload);
	uint32_t command = take_u32(&payload);
	struct call call;

	if (!read_params(request, &payload, &call))
		return;
	if (find_session(session) == session_count) {
		send_refused(request, REFUSED_SESSION, 0, "no such session is open");
		return;
	}
	if (!share(request, &call))
		return;
	memset(&invoke, 0, sizeof(invoke));
	invoke.arg.func = command;
	invoke.arg.session = session;
	invoke.arg.num_params = TEE_PARAMS;
	memcpy(invoke.arg.params, call.params, sizeof(call.params));
	if (ioctl(device, TEE_IOC_INVOKE, &buf) < 0)
		send_refused(request, REFUSED_SYSTEM, errno, "the kernel refuses the call");
	else
		answer(request, invoke.arg.ret, invoke.arg.ret_origin, session, &call,
		       invoke.arg.params);
	unshare(&call);
}

void tee_close(uint32_t request, struct cursor payload)
{
	struct tee_ioctl_close_session_arg arg = { .session = take_u32(&payload) };
	struct call none = { .shared_fd = -1 };
	size_t at = find_session(arg.session);

	if (payload.bad || payload.left) {
		send_refused(request, REFUSED_PAYLOAD, 0, "not a session");
		return;
	}
	if (at == session_count) {
		send_refused(request, REFUSED_SESSION, 0, "no such session is open");
		return;
	}
	sessions[at] = sessions[--session_count];
	if (ioctl(device, TEE_IOC_CLOSE_SESSION, &arg) < 0)
		send_refused(request, REFUSED_SYSTEM, errno, "the session cannot be closed");
	else
		answer(request, 0, 0, arg.session, &none, none.params);
}
