"""Every timeout, number of attempts and pace, each named once. Seconds where nothing else is said."""

from __future__ import annotations

from datetime import timedelta

# In total: over names that are resolved, connections, redirects and however slowly an answer comes.
KUBERNETES_TIMEOUT = 30.0  # for one request; a hung API server is an error that a retry may mend
LIST_TIMEOUT = 120.0  # for all pages of one list
EVENT_TIMEOUT = 5.0  # for an Event: telling is best effort and must not hold up what is told
EVENT_SLOW = 1.0  # after an Event that took longer none is written for a while: there may be many to tell
EVENT_REST = 60.0  # for so long
GKE_TIMEOUT = 30.0  # for one request, and for a token
MODEL_SERVER_TIMEOUT = (
    60.0  # for one request that is no completion; an adapter may have to be downloaded first
)
PROMETHEUS_TIMEOUT = 10.0  # for one query; an observation that takes longer is none
BUSY_STORE = 60.0  # for which preflight asks a store again that cannot answer now
STORE_SKEW = 2.0  # by which a metrics store's clock may differ from ours without a word
SLOW_STORE = 2.0  # for which, or for an interval, an observation waits for counts; guardrails do not
FIRST_WORD = 60.0  # for which who takes a step over waits for answers before its deadline ends it
LAST_WORD = 60.0  # after a deadline, for which who did not answer is asked again before it ends a wait
CATCH_UP = 120  # ticks that are asked for at once after a time without counts; more are thinned
SPARE_TICKS = 10 * CATCH_UP  # of all who share a process; each is some 5 ms of its time
SPARE_PACE = 10.0  # more of them each second: a twentieth of a core
LATE = 3  # ticks of which the newest alone is asked for; its window reaches back over the others
TOKEN_FRESH = 60.0  # that a token must still be good for
IDENTITY_TTL = 10.0  # for which we are who we were to an API server: a token's file is read that often
STORAGE_TIMEOUT = 60.0  # for one file of an object storage
REGISTRY_TIMEOUT = 30.0  # for one request to a registry of images
PROBE_TIMEOUT = 10.0  # for a request to a guardian's own server
WATCH_SECONDS = 5.0  # for which one watch of a kind lasts: its end proves that nothing was missed
VIEW_AGE = 10.0  # of what watches have shown, from which on it is not used: everything is read instead
DISCOVERY_NO_TTL = 10.0  # for which it is believed that the cluster does not serve a kind

MIB = 2**20
ANSWER_BYTES = 64 * MIB  # of an answer: a page of 500 big objects, or a vector of many pods, is far below
MODEL_SERVER_BYTES = MIB  # of a model server's answer that is no completion
REGISTRY_BYTES = 4 * MIB  # of a registry's answer: the specification wants no larger manifest
STORED_BYTES = MIB  # of a file that is read from an object storage
STREAM_BYTES = 16 * MIB  # of a streamed completion: 4,096 tokens with an event of 4 KiB for each

FIRST_PAUSE = 0.5  # before the second try of what may pass; doubled each time
LONGEST_PAUSE = 15.0  # between two tries of what may pass
OBEYED = 5.0  # for which the way back does as a server says that wants to be asked later
TELL_EVERY = 60.0  # between two log lines about what is still tried
FORBIDDEN_FOR = 60.0  # after which a 403 is called a missing right

WRITE_DEADLINE = 120.0  # within which a task's write must have worked; the way back has none
RETURN_PATIENCE = 300.0  # for which a stable pool that became smaller is waited for if nobody knows the load
REFUSAL_LASTS = 15.0  # for which a refusal to read pods is asked again, before the way back does without
UNDO_WATCH = 300.0  # for which guardrails watch what an undone promotion sent back; then it stays there
REFLEX_DEADLINE = 300.0  # for which an alarm's own write is tried; after it the rollback task goes on
WRITE_ATTEMPTS = 5  # status updates of a gateway race with us; five lost races in a row are no coincidence
ANSWER_ATTEMPTS = 3  # completions asked of a model server before its failure counts
SCRAPED_WITHIN = 30.0  # for which a new pod's scrapes are awaited at least, once it is warm
SCRAPES_AWAITED = 12  # intervals of observation, the same where these are longer
TAG_PAGES = 20  # of tags that are read of one repository, 1,000 each
WARM_UP_FAILURES = 2  # failed answers in a row that a pod may give until it is steady
STORE_AT_ONCE = 32  # queries of one process that a metrics store answers side by side
OBSERVING_AT_ONCE = 16  # observations of one cluster and store that are read and judged side by side
SERVERS_AT_ONCE = 16  # model servers spoken to at the same time

LEASE_SECONDS = 20  # beyond the next observation, after which a rollout counts as watched by nobody
LEASE_RENEWAL = 10.0  # between two renewals of a lease that say the same
STATUS_EVERY = 10.0  # between two publications of a status that differ by time alone
STATUS_BUDGET = 10.0  # publications a second by all triggers of a process; what brings no news waits
PUBLISH_PATIENCE = 2.0  # for one publication; an observation waits no longer for it
SWITCH_SEEN = 2.0  # for which observers believe what they saw of the switch; whoever raises reads it
NOTIFIER_PATIENCE = 10.0  # for all messages of a moment together; what hangs is left to itself
TELLING_ATTEMPTS = 5  # of a message that no later task would send again
TELLING_FORGOTTEN = 30.0  # after which a message that was begun and not taken is sent again
GUARDIAN_POLL = 5.0  # between two rounds of a guardian
GUARDIAN_PATIENCE = LEASE_SECONDS / 2  # for one look after a rollout: the others' leases end meanwhile
GUARDIAN_STALLED = 120.0  # after which a guardian that ended no round is not alive

READINESS_POLL = 2.0  # between two checks of what a task waits for
CONFIRMATION_POLL = 0.5  # between two looks at whether gateways have taken restored weights
CONFIRMATION_DEADLINE = 60.0  # after which a rollback is reported as not yet confirmed
RETIREMENT_POLL = 15.0  # between two attempts to go on with a retirement
POD_START_GRACE = 60.0  # that a pod may be unable to start for a reason that sometimes passes by itself
ROUTE_WRITER_RECENT = 600.0  # since when a writer of what is moved counts as one that still writes
OBSERVATION_PAUSE = 0.05  # at least so long between two observations

TRIGGER_GRACE = timedelta(minutes=2)  # triggers end by themselves; Airflow's own timeout is a net below them
JUDGE_GRACE = timedelta(minutes=15)  # the same for those that a judge, or a person, may keep for long
LONGEST_HOLD = timedelta(days=7)  # the pauses of a step; Airflow's own nets, which know of none, come later
RETIREMENT_WAIT = timedelta(days=3)  # for somebody who still uses what is to go, and for its pods to end
