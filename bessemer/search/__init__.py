"""Searches better settings: trials on Ray Tune, choices by Optuna, decisions in a journal of its own.

`space`, `rungs`, `population` and `choosing` decide, and know neither files nor Ray; `study` keeps what
was decided in a `journal`, so that a search that was killed goes on as if it had not been. `tuner` and
`trial` are the edge where Ray Tune runs them.
"""
