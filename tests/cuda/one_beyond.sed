# The last thread of a warp reads a word beyond the tile, and makes no use of it: only a sanitizer sees that.
s/shift + EACH \* bits > 32/shift + EACH * bits >= 32/
