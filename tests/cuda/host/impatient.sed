# The next stretch is copied over the last before that is sent.
s/return rc ? rc : slot_wait(s->slot, s->why);/return rc;/
