/* SPDX-License-Identifier: MIT */

/* tokenizer.model: sentencepiece_model.proto, from which only the pieces are read. */

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "view/gguf/vocab.h"

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct message {
	const unsigned char *at, *end;
};

/* One field: a number, or bytes. */
struct field {
	uint64_t number;
	enum wire wire;
	uint64_t value;
	struct message bytes;
};

static bool next_varint(struct message *m, uint64_t *out)
{
	*out = 0;
	for (unsigned shift = 0; shift < 64 && m->at < m->end; shift += 7) {
		const uint64_t byte = *m->at++;

		*out |= (byte & 0x7f) << shift;
		if (byte < 0x80)
			return true;
	}
	return false;
}

/* Reads a field. Returns 1, 0 at the end, or -1 if this is not a protobuf. */
static int next_field(struct message *m, struct field *f)
{
	uint64_t tag, len = 0;

	if (m->at == m->end)
		return 0;
	if (!next_varint(m, &tag))
		return -1;
	*f = (struct field){.number = tag >> 3, .wire = tag & 7};
	if (f->wire == WIRE_VARINT)
		return next_varint(m, &f->value) ? 1 : -1;
	if (f->wire == WIRE_BYTES && !next_varint(m, &len))
		return -1;
	if (f->wire != WIRE_BYTES && f->wire != WIRE_32 && f->wire != WIRE_64)
		return -1;
	len = f->wire == WIRE_32 ? 4 : f->wire == WIRE_64 ? 8 : len;
	if (len > (uint64_t)(m->end - m->at))
		return -1;
	f->bytes = (struct message){m->at, m->at + len};
	m->at += len;
	return 1;
}

static uint8_t token_type(uint64_t type)
{
	return type == TOKEN_UNKNOWN || type == TOKEN_CONTROL || type == TOKEN_UNUSED || type == TOKEN_BYTE
	           ? (uint8_t)type
	           : TOKEN_NORMAL;
}

/* Returns a text with C0 80 for NUL, as in base/json.h; invalid UTF-8 passes. */
static const char *piece_text(struct arena *arena, struct message bytes)
{
	struct text text = {0};
	const char *copy;

	for (; bytes.at < bytes.end; bytes.at++)
		text_put(&text, *bytes.at ? (const char *)bytes.at : "\xc0\x80", *bytes.at ? 1 : 2);
	copy = text_keep(&text, arena);
	text_free(&text);
	return copy;
}

/* Returns 0, -EBADMSG or -ENOMEM. */
static int read_piece(struct message m, struct arena *arena, struct gguf_token *out)
{
	struct message text = {0};
	struct field f;
	int more;

	*out = (struct gguf_token){.type = TOKEN_NORMAL};
	while ((more = next_field(&m, &f)) > 0) {
		if (f.number == 1 && f.wire == WIRE_BYTES)
			text = f.bytes;
		else if (f.number == 2 && f.wire == WIRE_32)
			memcpy(&out->score, f.bytes.at, 4);
		else if (f.number == 3 && f.wire == WIRE_VARINT)
			out->type = token_type(f.value);
	}
	if (more < 0)
		return -EBADMSG;
	out->text = piece_text(arena, text);
	return out->text ? 0 : -ENOMEM;
}

int vocab_read_pieces(const unsigned char *bytes, size_t len, struct gguf_vocab *v, struct gptqfs_error *err)
{
	struct message m = {bytes, bytes + len};
	struct field f;
	uint32_t id = 0;
	int more, rc = 0;

	while (rc == 0 && (more = next_field(&m, &f)) != 0) {
		if (more < 0)
			rc = -EBADMSG;
		else if (f.number == 1 && f.wire == WIRE_BYTES && id < v->count)
			rc = read_piece(f.bytes, &v->arena, &v->tokens[id++]);
	}
	if (rc == -ENOMEM)
		return err_memory(err);
	if (rc || !id)
		return err_set(err, -EBADMSG, "tokenizer.model is not a SentencePiece model (near byte %zu of %zu)",
		    (size_t)(m.at - bytes), len);
	return 0;
}
