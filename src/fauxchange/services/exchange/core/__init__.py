"""The exchange's pure core: one deterministic kernel, `apply(state, commands) -> events`, in integers only.

`engine` is the way in; `vocabulary` names what is said, `layout` says how commands, events and the state lie in memory.
"""
