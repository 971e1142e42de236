"""After which updates a training, or a pilot, looks at the selection part."""

from collections.abc import Iterator

from fishpal.params.options import TrainOptions

LOOKS = 5  # of a training at least, by auto: what has collapsed since the last one is lost
FIRST_LOOK = 32  # updates: eight times an averaged training's warm-up by default


def look_updates(total: int, per_epoch: int, options: TrainOptions) -> set[int]:
    """Of a training: evenly over the whole run, its end included; averaged ones' as a pilot's."""
    if options.evaluations_per_epoch == "auto":
        if options.schedule == "averaged":
            return set(doubling(total, total // 2))
        wanted = max(LOOKS, round(total / per_epoch))
    else:
        wanted = max(1, round(min(total, total / per_epoch * options.evaluations_per_epoch)))
    parts = min(wanted, total)
    return {round(total * part / parts) for part in range(1, parts + 1)}


def doubling(longest: int, first: int) -> Iterator[int]:
    """32, 48, 64, 96, 128, … up to `longest`, which is the last; sooner where `first` is."""
    update = FIRST_LOOK
    while update > max(1, first):
        update //= 2
    while update < longest:
        yield update
        update += max(1, update // 2 if update & (update - 1) == 0 else update // 3)
    yield longest
