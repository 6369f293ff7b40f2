/* SPDX-License-Identifier: MIT */

/*
 * Every pair of files, over all modes and some owners, against every user with every set of groups: a user who may read
 * the combination must be able to read both. And permissions are not lost needlessly.
 */

#include <unistd.h>

#include "file/rights.h"
#include "../test.h"

struct user {
	uid_t uid;
	bool groups[3]; /* of 100, 101, 102 */
};

/* See path_resolution(7) and chmod(2). */
static bool can_read(const struct user *u, const struct stat *st)
{
	if (u->uid == st->st_uid)
		return st->st_mode & 0400;
	if (st->st_gid >= 100 && st->st_gid <= 102 && u->groups[st->st_gid - 100])
		return st->st_mode & 0040;
	return st->st_mode & 0004;
}

static struct stat make(uid_t uid, gid_t gid, unsigned bits)
{
	return (struct stat){
	    .st_uid = uid,
	    .st_gid = gid,
	    .st_mode = S_IFREG | (bits & 4 ? 0400 : 0) | (bits & 2 ? 0040 : 0) | (bits & 1 ? 0004 : 0),
	};
}

static void test_pair(const struct stat *a, const struct stat *b)
{
	struct stat met = *a;

	rights_meet(&met, b);
	for (unsigned i = 0; i < 32; i++) {
		const struct user u = {1000 + i / 8, {i & 1, i & 2, i & 4}};

		if (can_read(&u, &met) && !(can_read(&u, a) && can_read(&u, b)))
			CHECK(!"a user may read what they could not");
	}
	/* With the same owner and group, nothing is lost. */
	if (a->st_uid == b->st_uid && a->st_gid == b->st_gid)
		CHECK(met.st_mode == (a->st_mode & (b->st_mode | S_IFMT)));
	if ((a->st_mode & 0777) == 0444 && (b->st_mode & 0777) == 0444)
		CHECK((met.st_mode & 0777) == 0444);
}

static void test_settle(void)
{
	struct stat st = make(geteuid() + 1, 12345, 0);

	rights_settle(&st);
	CHECK(st.st_uid == geteuid() && st.st_gid == getegid() && (st.st_mode & 0777) == 0400);
	st = make(geteuid(), getegid(), 4);
	rights_settle(&st);
	CHECK(st.st_uid == geteuid() && (st.st_mode & 0777) == 0400);
	/* Root can read it anyway; another user could not. */
	st = make(geteuid() + 1, 12345, 4);
	rights_settle(&st);
	CHECK(st.st_uid == geteuid() + (geteuid() == 0));
}

int main(void)
{
	for (unsigned i = 0; i < 64; i++)
		for (unsigned k = 0; k < 8; k++) {
			/* b's owner and group are a's or not; a third owner and group are only users'. */
			const struct stat a = make(1000, 100, i & 7);
			const struct stat b = make(1000 + (i >> 3 & 1), 100 + (i >> 4 & 1), k);

			test_pair(&a, &b);
		}
	test_settle();
	return test_done();
}
