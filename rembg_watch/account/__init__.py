"""
May a call go now? Credits, pace and pauses of the account, and what each refusal means.

The core decides on values; the shell reads the account, lets threads wait, and writes and reports what was decided.

=====================  =================================================================
``account.causes``     why the account stands still: one row for each cause (core)
``account.credits``    what pictures cost, what the account can pay (core)
``account.holds``      why the account stands still, and what looks at it next (core)
``account.gate``       may a call go; what a call's end means for the others (core)
``account.measures``   what the pacer remembers, and what can be measured by it (core)
``account.pauses``     what a person has paused, and a gate that is held for it (core)
``account.pacing``     the rate that the account bears, learned from refusals (core)
``account.retry``      what an error means for its job and for the gate (core)
``account.notes``      what is written down for the next start; every note has its model (core)
``account.terms``      what the settings say of price, limits and retries (core)
``account.views``      how holds and readings are shown by ``report``
``account.history``    what the account held over time, written down (shell)
``account.throughput`` the pacer, how long calls take, and what of it is news (shell)
``account.outbox``     what is decided under a lock is written and reported after it (shell)
``account.balance``    reads the account, and keeps count between readings (shell)
``account.governor``   holds gate and pacer under one lock; calls wait there (shell)
=====================  =================================================================
"""
