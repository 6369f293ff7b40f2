# The fourth word of a load goes one column too far.
s/tile\[i\]\[column + 3\] = v.w/tile[i][column + 4] = v.w/
