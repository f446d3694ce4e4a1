/* The hand-over of a guest as a protocol between two daemons with journals: SPIN's view of it, written independently
 * of the tables in src/culvert/migration/handover/machine_*.py, with the same promises to keep. docs/handover.md tells the story.
 *
 *   spin -a model/handover.pml && gcc -O2 -DSAFETY -o pan pan.c && ./pan            what must never be
 *   spin -a model/handover.pml && gcc -O2 -o pan pan.c && ./pan -a -f -N settles    what must come about
 *
 * A culvert at both ends, ATTEMPTS attempts one after the other. FAULTS are spent on: a daemon killed, at any point; an
 * answer, a question or a word lost; QEMU dead at the destination. Calls may be delayed for ever and overtake each
 * other; cancels and time-outs are free. A daemon that was killed goes on from its journal. Each of the defects that
 * begin with BAD_ must be found (tests/model).
 *
 * With POSTCOPY an attempt may go over to post-copy with a QEMU of 10.2 or later at the source, up to the moment when
 * the CPUs run there: what it has stopped and sent is its own until the destination's QEMU has answered, and without an
 * answer it runs the guest again by itself. The way may break at any moment. (The pages that are left, and a way that is
 * taken up again, are the explorer's: tests/migration/explorer.)
 */
#ifdef BAD_BEGUN_IS_SWITCHED
#define POSTCOPY
#endif
#ifdef BAD_RETURNED_IS_ASKED
#define POSTCOPY
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif
#ifndef FAULTS
#define FAULTS 2
#endif
#define N 3 /* attempts are numbered from 1 */

/* the steps of the journal, and the states in memory */
mtype = { NONE, PERFORM3, PERFORM3_DONE, CONFIRM3, CONFIRM3_CANCELLED, LEFT, STAYED, UNDECIDED,
          PREPARE, FINISH3, ARRIVED, GONE, LOST, PENDING, YES, NO,
          SWITCHING, RETURNED, SENDING, DEVICE, SWITCHED, FAILED };

mtype s_row = NONE;       /* the source's journal: the last step of the attempt `attempt` */
byte attempt = 0;
bool s_over = false;      /* the source does nothing more */
mtype d_row[N] = NONE;    /* the destination's journal */
mtype d_mem[N] = NONE;    /* what the destination's daemon has in memory */

bool s_runs = true;       /* truth: the CPUs run at the source */
bool s_alive = true;      /* truth: the source's copy exists */
bool d_runs = false;      /* truth: the CPUs run at the destination */
byte d_qemu = 0;          /* truth: whose QEMU there is at the destination */
bool d_loaded = false;    /* truth: it has the whole state */
bool d_switched = false;  /* truth: it has what is not memory, and is in post-copy */
mtype s_qemu = NONE;      /* truth: the source's QEMU, of an attempt that may go over to post-copy */
bool ran[N] = false;      /* truth: this attempt's CPUs have run at the destination */
byte fresh = 0;           /* truth: whose state is the newest; 0: the source's */
bool died = false;        /* truth: a QEMU has died by itself */
bool answering = false;   /* a question is being answered */
byte faults = FAULTS;

chan prepare = [N] of { byte };
chan prepared = [N] of { byte, mtype };
chan finish = [N] of { byte };            /* the grant of an attempt */
chan finished = [N] of { byte, mtype };
chan ask = [N] of { byte };
chan off = [N] of { byte };               /* finish, cancelled, by a connection of its own */
chan word = [N] of { byte, mtype };

#define ANY_RAN (ran[1] || ran[2])
#define OVER(a) (d_mem[a] == NONE || d_mem[a] == GONE || d_mem[a] == ARRIVED || d_mem[a] == LOST)
#define SETTLED (s_over && OVER(1) && OVER(2))
#define HALF(a) (d_qemu == a && d_switched) /* it may be the only one: not given up by itself */

inline killed_here() { if :: true :: atomic { faults > 0 -> faults--; goto restart } fi }
inline forget(c) { do :: nempty(c) -> c?_,_ :: empty(c) -> break od }
inline put1(c, a) { if :: nfull(c) -> c!a :: full(c) -> skip fi }
inline put2(c, a, m) {
    if
    :: nfull(c) -> c!a,m
    :: full(c) -> skip
    :: atomic { faults > 0 -> faults-- } /* it is lost */
    fi
}

active proctype Source()
{
    mtype heard;
    byte which;
next:
    attempt++;
    s_row = NONE;
    s_qemu = NONE;
    put1(prepare, attempt);
    if
    :: prepared?which,heard ->
        if
        :: which != attempt || heard == NO -> goto stay
        :: else
        fi
    :: true -> goto stay /* cancelled, lost, too late */
    fi;
    killed_here();
    s_row = PERFORM3;
    killed_here();
#ifdef POSTCOPY
    if
    :: true ->
        s_row = SWITCHING;
        killed_here();
        s_qemu = SENDING; /* it is told, and does the rest by itself */
        goto switching
    :: true
    fi;
#endif
    /* QEMU sends; while it does, anything may end it, and then the guest has never stopped for good */
    if
    :: d_step { d_qemu == attempt -> s_runs = false; fresh = attempt; d_loaded = true }
    :: true -> goto stay
    fi;
    killed_here();
    if :: true :: goto stay fi; /* cancelled at the last moment */
#ifndef BAD_GRANT_BEFORE_ITS_ROW
    s_row = PERFORM3_DONE;
#endif
    killed_here();
    put1(finish, attempt);
    do
    :: finished?which,heard ->
        if
        :: which != attempt
        :: which == attempt && heard == YES -> goto leave
        :: which == attempt && heard == NO -> goto asking
        fi
#ifdef BAD_RESUME_ON_LOST_FINISH
    :: atomic { faults > 0 -> faults-- }; goto stay
#else
    :: true -> goto asking /* lost, cut off, too late */
#endif
    od;
#ifdef POSTCOPY
switching:
    do
    :: atomic { faults > 0 -> faults--; goto restart }
#ifdef BAD_BEGUN_IS_SWITCHED
    :: s_qemu == DEVICE -> break
#endif
    :: s_qemu == SWITCHED -> break
    :: s_qemu == FAILED -> goto returned
    od;
granting:
    killed_here();
    put1(finish, attempt); /* the row of the switch stands for the grant too */
    do
    :: finished?which,heard ->
        if
        :: which != attempt
        :: which == attempt && heard == YES -> goto leave
        :: which == attempt && heard == NO -> goto asking
        fi
    :: true -> goto asking
    od;
returned:
    s_row = RETURNED;
recalling:
    killed_here();
    forget(word);
    put1(off, attempt);
    do
    :: word?which,heard ->
        if
        :: which != attempt
        :: which == attempt && (heard == GONE || heard == LOST || heard == NONE) -> s_row = STAYED; goto stayed
        :: which == attempt && !(heard == GONE || heard == LOST || heard == NONE) -> goto recalling
        fi
    :: empty(off) && empty(word) && !answering -> goto recalling
    od;
#endif
asking:
    killed_here();
    forget(word);
    put1(ask, attempt);
    do
    :: word?which,heard ->
        if
        :: which != attempt
        :: which == attempt && heard == ARRIVED -> goto leave
        :: which == attempt && heard == GONE -> goto stay
        :: which == attempt && heard == PENDING -> goto asking
#ifdef POSTCOPY
        :: which == attempt && heard == PREPARE -> goto granting /* it holds its half: granted once more */
#endif
        :: which == attempt && (heard == LOST || heard == NONE) ->
            s_over = true; /* an operator's turn: it stands still here, and says so */
            assert(died);
            goto end
        fi
    :: empty(ask) && empty(word) && !answering -> goto asking /* the question or the word is lost: ask again */
    od;
stay:
    s_row = CONFIRM3_CANCELLED;
    killed_here();
stay_again:
    if
    :: !s_runs -> assert(!ANY_RAN); s_runs = true
    :: else
    fi;
    fresh = 0;
    s_row = STAYED;
    killed_here();
stayed:
    if
    :: attempt < ATTEMPTS -> goto next
    :: true -> s_over = true; goto end
    fi;
leave:
    s_row = CONFIRM3;
    killed_here();
leave_again:
    assert(ANY_RAN);
    s_alive = false;
    s_row = LEFT;
    s_over = true;
    goto end;
restart:
    forget(prepared);
    forget(finished);
    forget(word);
    if
    :: s_row == NONE || s_row == PERFORM3 -> goto stay
    :: s_row == PERFORM3_DONE -> goto asking
#ifdef POSTCOPY
    :: s_row == SWITCHING && s_qemu == NONE -> goto stay
    :: s_row == SWITCHING && (s_qemu == SENDING || s_qemu == DEVICE) -> goto switching
    :: s_row == SWITCHING && s_qemu == SWITCHED -> goto asking
#ifdef BAD_RETURNED_IS_ASKED
    :: s_row == SWITCHING && s_qemu == FAILED -> goto asking
#else
    :: s_row == SWITCHING && s_qemu == FAILED -> goto returned
#endif
    :: s_row == RETURNED -> goto recalling
#endif
    :: s_row == CONFIRM3 -> goto leave_again
    :: s_row == CONFIRM3_CANCELLED -> goto stay_again
    :: s_row == STAYED -> goto stayed
    fi;
end:
    skip
}

#ifdef POSTCOPY
/* The source's QEMU, and what its stream does at the destination's. Between any two of these the way may break. */
active proctype Qemu()
{
    do
    :: d_step { s_qemu == SENDING && d_qemu == attempt -> s_runs = false; fresh = attempt; s_qemu = DEVICE }
    :: s_qemu == SENDING -> s_qemu = FAILED
    :: d_step { s_qemu == DEVICE && d_qemu == attempt && !d_switched -> d_switched = true }
    :: d_step { s_qemu == DEVICE && HALF(attempt) -> s_qemu = SWITCHED }
    :: d_step { s_qemu == DEVICE -> assert(!ANY_RAN); s_runs = true; fresh = 0; s_qemu = FAILED }
    :: s_over -> break
    od
}
#endif

inline promise(a) {
    d_row[a] = GONE;
    d_mem[a] = GONE;
    killed_here();
    if
    :: d_qemu == a -> d_step { assert(!ran[a]); d_qemu = 0; d_loaded = false; d_switched = false }
    :: else
    fi
}

active proctype Destination()
{
    byte a, b;
    goto serve;
restart:
    answering = false;
    /* QEMU may die while nobody looks */
    if
    :: true
    :: d_step { faults > 0 && d_qemu != 0 ->
                faults--; died = true; d_qemu = 0; d_runs = false; d_loaded = false; d_switched = false }
    fi;
    b = 1;
    do
    :: b < N ->
        d_mem[b] = NONE;
#ifdef BAD_FORGETS
        d_row[b] = GONE;
#endif
        if
        :: d_row[b] == NONE
        :: d_row[b] == PREPARE && !HALF(b) -> d_row[b] = GONE
        :: d_row[b] == PREPARE && HALF(b)
        :: d_row[b] == FINISH3 && d_qemu == b && d_runs -> d_row[b] = ARRIVED
        :: d_row[b] == FINISH3 && d_qemu == b && !d_runs && !d_switched -> d_row[b] = GONE
        :: d_row[b] == FINISH3 && HALF(b) && !d_runs -> d_row[b] = PREPARE
#ifdef BAD_NO_WITNESS_IS_GONE
        :: d_row[b] == FINISH3 && d_qemu != b -> d_row[b] = GONE
#else
        :: d_row[b] == FINISH3 && d_qemu != b -> d_row[b] = LOST
#endif
        :: d_row[b] == ARRIVED || d_row[b] == GONE || d_row[b] == LOST
        fi;
        if
        :: d_row[b] == GONE && d_qemu == b -> d_step { assert(!d_runs); d_qemu = 0; d_loaded = false; d_switched = false }
        :: else
        fi;
        d_mem[b] = d_row[b];
        b++
    :: else -> break
    od;
serve:
    do
    :: prepare?a ->
        d_row[a] = PREPARE;
        killed_here();
        d_mem[a] = PREPARE;
        if
        :: d_qemu == 0 -> d_qemu = a; put2(prepared, a, YES)
        :: else -> promise(a); put2(prepared, a, NO)
        fi
    :: finish?a ->
#ifdef BAD_GRANT_WITHOUT_ATTEMPT
        if :: d_qemu != 0 -> a = d_qemu :: else fi;
#endif
        if
        :: d_mem[a] == PREPARE && d_qemu == a && (d_loaded || d_switched) ->
#ifndef BAD_CPUS_BEFORE_THEIR_ROW
            d_row[a] = FINISH3;
#endif
            d_mem[a] = FINISH3;
            killed_here();
            if
            :: d_qemu == a ->
                d_step { assert(fresh == a); d_runs = true; ran[a] = true };
                killed_here();
                d_row[a] = ARRIVED;
                d_mem[a] = ARRIVED;
                put2(finished, a, YES)
            :: d_qemu == a -> promise(a); put2(finished, a, NO) /* QEMU refuses */
            :: d_qemu != a -> d_row[a] = LOST; d_mem[a] = LOST; put2(finished, a, NO)
            fi
        :: d_mem[a] == PREPARE && !(d_qemu == a && (d_loaded || d_switched)) -> promise(a); put2(finished, a, NO)
        :: d_mem[a] == ARRIVED -> put2(finished, a, YES)
        :: d_mem[a] == GONE || d_mem[a] == LOST || d_mem[a] == NONE -> put2(finished, a, NO)
        fi
    /* a grant that has come for a half is taken before a question, or both would go round for ever */
    :: atomic { nempty(ask) && (!d_switched || empty(finish)) -> ask?a; answering = true };
        if
#ifdef BAD_PROMISE_NOT_KEPT
        :: d_mem[a] == PREPARE -> put2(word, a, GONE)
#else
        :: d_mem[a] == PREPARE && !HALF(a) -> promise(a); put2(word, a, GONE)
        :: d_mem[a] == PREPARE && HALF(a) -> put2(word, a, PREPARE)
#endif
        :: d_mem[a] != PREPARE -> put2(word, a, d_mem[a])
        fi;
        answering = false
    :: atomic { off?a -> answering = true };
        if
        :: d_mem[a] == PREPARE -> promise(a); put2(word, a, GONE)
        :: d_mem[a] != PREPARE -> put2(word, a, d_mem[a])
        fi;
        answering = false
    :: d_mem[1] == PREPARE && !HALF(1) -> a = 1; promise(a) /* its connection is gone, or nothing was heard */
    :: d_mem[2] == PREPARE && !HALF(2) -> a = 2; promise(a)
    :: d_step { faults > 0 && d_qemu != 0 -> /* QEMU dies */
                faults--; died = true; a = d_qemu; d_qemu = 0; d_runs = false; d_loaded = false; d_switched = false };
        if
        :: d_mem[a] == PREPARE -> promise(a)
        :: else
        fi
    :: atomic { faults > 0 -> faults--; goto restart }
    :: s_over && empty(prepare) && empty(finish) && empty(ask) && empty(off) && OVER(1) && OVER(2) -> break
    od;
    goto end;
end:
    skip
}

ltl one_copy { [] !(s_runs && d_runs) }
ltl a_copy { [] (s_alive || d_qemu != 0 || died) }
ltl truth { [] ((d_row[1] == GONE -> !ran[1]) && (d_row[2] == GONE -> !ran[2]) && (s_row == LEFT -> ANY_RAN)) }
ltl settles { <> (SETTLED && (s_runs || d_runs || died)) }
