/* SPDX-License-Identifier: MIT */

/* The kernels, as make cuda compiled them, in IMAGE; a byte of 0 ends an image that is text. */
	.section .rodata
	.global cuda_image
	.hidden cuda_image
	.balign 16
cuda_image:
	.incbin IMAGE
	.byte 0
	.section .note.GNU-stack, "", %progbits
