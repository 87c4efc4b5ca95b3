"""Comparing lists of tokens."""


def common_prefix(first: list[int], second: list[int], limit: int) -> int:
    """Length of the common prefix, at most `limit`. Compares slices, so that the work is done in C."""
    limit = min(limit, len(first), len(second))
    start, step = 0, 16
    while start < limit:
        end = min(start + step, limit)
        if first[start:end] == second[start:end]:
            start, step = end, step * 2
        elif end - start == 1:
            break
        else:
            step = max(1, (end - start) // 2)
            limit = end - 1 if first[end - 1] != second[end - 1] else limit
    return start
