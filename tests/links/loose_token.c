// SPDX-License-Identifier: Apache-2.0
/*
 * A PKCS#11 module that lets CKA_EXTRACTABLE be set, of any key: SoftHSM2's, with two functions of
 * its own. Everything else is SoftHSM2's answer. LOOSE_MODULE names it, LOOSE_LOG the file that
 * gets a line for each attribute that somebody sets: 1 where the token keeps the key, 0 where it is
 * the session's.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long ck_ulong;
struct attribute {
	ck_ulong type;
	void *value;
	ck_ulong length;
};
typedef ck_ulong (*attribute_function)(ck_ulong session, ck_ulong object, struct attribute *of,
				       ck_ulong count);

enum { GET_FUNCTION_LIST = 3, GET_ATTRIBUTES = 24, SET_ATTRIBUTES = 25, FUNCTIONS = 68 };
enum { CKA_TOKEN = 0x1, CKA_EXTRACTABLE = 0x162, MOST = 64 };
struct functions {
	unsigned char version[2];
	void *of[FUNCTIONS];
};

static struct functions ours, *theirs;
static ck_ulong loosened[MOST];
static int count_loosened;

static int is_loosened(ck_ulong object)
{
	for (int i = 0; i < count_loosened; i++)
		if (loosened[i] == object)
			return 1;
	return 0;
}

static ck_ulong get(ck_ulong session, ck_ulong object, struct attribute *of, ck_ulong count)
{
	const ck_ulong answer =
		((attribute_function)theirs->of[GET_ATTRIBUTES])(session, object, of, count);

	for (ck_ulong i = 0; i < count; i++)
		if (of[i].type == CKA_EXTRACTABLE && of[i].value && of[i].length == 1 &&
		    is_loosened(object))
			*(unsigned char *)of[i].value = 1;
	return answer;
}

static ck_ulong set(ck_ulong session, ck_ulong object, struct attribute *of, ck_ulong count)
{
	unsigned char kept = 0xff;
	struct attribute token = {CKA_TOKEN, &kept, 1};
	FILE *log = fopen(getenv("LOOSE_LOG"), "a");

	get(session, object, &token, 1);
	fprintf(log, "%d\n", kept);
	fclose(log);
	if (count != 1 || of->type != CKA_EXTRACTABLE || count_loosened == MOST)
		return ((attribute_function)theirs->of[SET_ATTRIBUTES])(session, object, of, count);
	loosened[count_loosened++] = object;
	return 0;
}

ck_ulong C_GetFunctionList(struct functions **list)
{
	if (!theirs) {
		void *module = dlopen(getenv("LOOSE_MODULE"), RTLD_NOW | RTLD_LOCAL);
		ck_ulong (*load)(struct functions **) = NULL;

		if (!module || !(load = dlsym(module, "C_GetFunctionList")) || load(&theirs))
			return 6; /* CKR_FUNCTION_FAILED */
		ours = *theirs;
		ours.of[GET_FUNCTION_LIST] = C_GetFunctionList;
		ours.of[GET_ATTRIBUTES] = get;
		ours.of[SET_ATTRIBUTES] = set;
	}
	*list = &ours;
	return 0;
}
