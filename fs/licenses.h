/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LICENSES_H
#define GPTQFS_LICENSES_H

/* The licences of this program; where it is linked statically, of the libraries too. */
extern const char licenses[] __attribute__((visibility("hidden")));

#endif
