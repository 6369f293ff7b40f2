/* SPDX-License-Identifier: MIT */
#include "mount/mount_helper.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "log.h"

bool mount_helper_is(const char *program)
{
	const char *slash = strrchr(program, '/');

	return strncmp(slash ? slash + 1 : program, "mount.", 6) == 0;
}

/* "-s", "-nv": mount's own flags. */
static bool is_flags(const char *word)
{
	return word[0] == '-' && word[1] && strspn(word + 1, "sfnv") == strlen(word + 1);
}

int mount_helper_arguments(int *argc, char **argv, bool *fake)
{
	int kept = 1;

	for (int i = 1; i < *argc; i++) {
		if (strcmp(argv[i], "-N") == 0) {
			log_line("-N: mounting in another namespace is not supported; enter it first (nsenter -m)");
			return -EINVAL;
		}
		if (strcmp(argv[i], "-t") == 0) {
			i++;
		} else if (is_flags(argv[i])) {
			*fake |= strchr(argv[i], 'f') != NULL;
		} else {
			argv[kept++] = argv[i];
			if (strcmp(argv[i], "-o") == 0 && i + 1 < *argc)
				argv[kept++] = argv[++i];
		}
	}
	*argc = kept;
	argv[kept] = NULL;
	return 0;
}

bool mount_helper_ignores(const char *word)
{
	static const char *const ignored[] = {/* When and by whom it is mounted. */
	    "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev",
	    /* A mount is always ro, nosuid and nodev; mount.fuse3 passes dev and suid. */
	    "rw", "ro", "dev", "nodev", "suid", "nosuid",
	    /* There are no access times. */
	    "atime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime", "lazytime",
	    "nolazytime",
	    /* Meaningless for a read-only file system. */
	    "loud", "silent", "mand", "nomand", "iversion", "noiversion"};
	static const char *const prefixes[] = {"x-", "X-", "user=", "comment="};

	for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		if (strcmp(word, ignored[i]) == 0)
			return true;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
		if (strncmp(word, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}
