/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_MOUNTS_H
#define GPTQFS_MOUNTS_H

#include <stdbool.h>

#include "exit.h"

/*
 * Prints the gptqfs mounts that this process sees, with model, view, size and server, as a table or JSON. Returns
 * EXIT_OK, or EXIT_SERVE after a message.
 */
enum exit_code mounts_list(bool json);

#endif
