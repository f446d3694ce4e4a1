"""Defects that somebody might well write. Each must be found; each says where it is looked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from culvert.migration.handover.machine import Do, Next, Step, Write
from culvert.migration.handover.machine_destination import Event as D
from culvert.migration.handover.machine_destination import State as DState
from culvert.migration.handover.machine_destination import Word
from culvert.migration.handover.machine_recovery import Qemu
from culvert.migration.handover.machine_source import Event as S
from culvert.migration.handover.machine_source import State as SState
from tests.migration.explorer.world import Rules, Setting

_RESUME = Next(SState.CONFIRM3_CANCELLED, (Write(Step.CONFIRM3_CANCELLED), Do.RESUME))
_KILL = Next(SState.CONFIRM3, (Write(Step.CONFIRM3), Do.KILL))


_ONE_FAULT = Setting(faults=1, wishes=0)


@dataclass(frozen=True)
class Defect:
    """``seed`` puts it into the rules; ``setting`` is where it shows; ``found`` is a word of what is found."""

    seed: Callable[[Rules], None]
    found: str
    setting: Setting = _ONE_FAULT


def _resume_on_lost_finish(rules: Rules) -> None:
    rules.source[SState.PERFORM3_DONE, S.CUT] = _RESUME


def _resume_on_any_error(rules: Rules) -> None:
    rules.source[SState.PERFORM3_DONE, S.NO] = _RESUME


def _resume_at_the_deadline(rules: Rules) -> None:
    rules.source[SState.PERFORM3_DONE, S.DEADLINE] = _RESUME


def _cancel_after_the_grant(rules: Rules) -> None:
    rules.source[SState.PERFORM3_DONE, S.CANCEL] = _RESUME


def _resume_when_unreachable(rules: Rules) -> None:
    rules.source[SState.ASKING, S.UNREACHABLE] = _RESUME


def _pending_taken_for_yes(rules: Rules) -> None:
    rules.source[SState.ASKING, S.WORD_PENDING] = _KILL


def _lost_taken_for_gone(rules: Rules) -> None:
    rules.source[SState.ASKING, S.WORD_LOST] = _RESUME


def _client_believed(rules: Rules) -> None:
    rules.source[SState.PERFORM3_DONE, S.CLAIMED] = _KILL


def _grant_before_its_row(rules: Rules) -> None:
    rules.source[SState.PERFORM3, S.SENT] = Next(SState.PERFORM3_DONE, (Do.GRANT,))


def _source_forgets_the_grant(rules: Rules) -> None:
    rules.source_recovery[Step.PERFORM3_DONE, Qemu.HERE] = _RESUME


def _cpus_before_their_row(rules: Rules) -> None:
    rules.destination[DState.FINISH3, D.LOADED] = Next(DState.STARTING, (Do.CONT,))
    rules.destination[DState.STARTING, D.CONTINUED] = Next(
        DState.ARRIVED, (Write(Step.FINISH3), Write(Step.ARRIVED), Do.YES)
    )


def _grant_without_attempt(rules: Rules) -> None:
    rules.grant_names_attempt = False


def _grant_taken_after_the_promise(rules: Rules) -> None:
    rules.destination[DState.GONE, D.GRANT] = Next(DState.FINISH3, (Do.AWAIT_LOAD,))
    rules.destination[DState.PREPARE, D.ASKED] = Next(DState.GONE, (Write(Step.GONE), Do.TELL))


def _promise_that_is_not_kept(rules: Rules) -> None:
    rules.destination[DState.PREPARE, D.ASKED] = Next(DState.PREPARE, (Do.TELL,))
    rules.words[DState.PREPARE] = Word.GONE


def _gone_while_starting(rules: Rules) -> None:
    rules.words[DState.STARTING] = Word.GONE


def _destination_forgets(rules: Rules) -> None:
    rules.keeps_journal = False
    rules.unknown_is_gone = True


def _destination_forgets_and_says_so(rules: Rules) -> None:
    rules.keeps_journal = False


def _no_witness_taken_for_gone(rules: Rules) -> None:
    rules.destination_recovery[Step.FINISH3, Qemu.GONE] = Next(DState.GONE, (Write(Step.GONE),))


def _restart_kills_what_runs(rules: Rules) -> None:
    rules.destination_recovery[Step.FINISH3, Qemu.RUNNING] = Next(DState.GONE, (Write(Step.GONE), Do.KILL))


def _restart_takes_waiting_for_arrived(rules: Rules) -> None:
    rules.destination_recovery[Step.FINISH3, Qemu.WAITING] = Next(DState.ARRIVED, (Write(Step.ARRIVED),))


def _never_asks_again(rules: Rules) -> None:
    rules.source[SState.ASKING, S.UNREACHABLE] = Next(SState.ASKING, (Do.REPORT,))


def _resume_after_the_switch(rules: Rules) -> None:
    rules.source[SState.POSTCOPY_FAILED, S.WORD_POSTCOPY] = _RESUME
    rules.source[SState.POSTCOPY_FAILED, S.WORD_PENDING] = _RESUME


def _kill_before_all_is_there(rules: Rules) -> None:
    rules.source[SState.POSTCOPY_FAILED, S.WORD_POSTCOPY] = _KILL


def _gives_up_what_may_have_switched(rules: Rules) -> None:
    rules.destination[DState.PREPARE, D.ATTACHED] = Next(DState.PREPARE, (Do.ATTACH,))
    rules.destination[DState.PREPARE, D.SWITCHED] = rules.destination[DState.HELD, D.SWITCHED]


def _cancels_a_switch(rules: Rules) -> None:
    rules.source[SState.SWITCHING, S.CANCEL] = Next(
        SState.CONFIRM3_CANCELLED, (Do.STOP_SENDING, Do.CALL_OFF, Write(Step.CONFIRM3_CANCELLED), Do.RESUME)
    )


def _begun_taken_for_switched(rules: Rules) -> None:
    rules.waits_for_the_answer = False


def _half_not_called_off(rules: Rules) -> None:
    rules.source[SState.RETURNED, S.RESUMED] = Next(SState.STAYED, (Write(Step.STAYED), Do.REPORT))


def _restart_asks_what_has_come_back(rules: Rules) -> None:
    rules.source_recovery[Step.POSTCOPY, Qemu.BACK] = Next(SState.POSTCOPY_FAILED, (Do.REPORT, Do.ASK))


def _grants_behind_a_qemu_that_hangs(rules: Rules) -> None:
    rules.source[SState.SWITCHING, S.WORD_POSTCOPY] = Next(SState.POSTCOPY, (Do.GRANT,))


def _host_asks_for_no_journal(rules: Rules) -> None:
    rules.may_have_left = frozenset()


def _host_asks_for_the_last_row_only(rules: Rules) -> None:
    rules.may_have_left = frozenset({Step.LEFT})


_TWICE = Setting(faults=1, wishes=1, attempts=2, only_cuts=True)
_WISH = Setting(faults=0, wishes=1)
_TWO_FAULTS = Setting(faults=2, wishes=0)
_POSTCOPY = Setting(faults=1, wishes=1, postcopy=True)
_ANSWERED = replace(_POSTCOPY, answered=True)

DEFECTS: dict[str, Defect] = {
    "the source resumes when the answer to finish is lost": Defect(_resume_on_lost_finish, "resumes a copy|two cop"),
    "the source takes any error for a no": Defect(_resume_on_any_error, "resumes a copy"),
    "the source resumes when the deadline passes after the grant": Defect(
        _resume_at_the_deadline, "resumes a copy|two copies|runs? on elsewhere", _WISH
    ),
    "the source lets itself be cancelled after the grant": Defect(
        _cancel_after_the_grant, "resumes a copy|two copies|run on elsewhere", _WISH
    ),
    "the source resumes when nobody answers": Defect(_resume_when_unreachable, "resumes a copy|two cop", _TWO_FAULTS),
    "the source takes 'pending' for a yes": Defect(_pending_taken_for_yes, "only whole copy"),
    "the source takes 'lost' for a promise": Defect(_lost_taken_for_gone, "resumes a copy", _TWO_FAULTS),
    "the source believes a client": Defect(
        _client_believed, "only whole copy", Setting(faults=1, wishes=0, client=True)
    ),
    "the source hands the grant out before it is written": Defect(_grant_before_its_row, "resumes a copy|two copies"),
    "the source forgets the grant when it is started again": Defect(
        _source_forgets_the_grant, "resumes a copy|two copies|run on elsewhere"
    ),
    "the destination starts the CPUs before that is written": Defect(
        _cpus_before_their_row, "resumes a copy|says", _TWO_FAULTS
    ),
    "the destination takes a grant of an earlier attempt": Defect(
        _grant_without_attempt, "two copies|run on elsewhere", _TWICE
    ),
    "the destination takes a grant after its promise": Defect(
        _grant_taken_after_the_promise, "two copies|run on elsewhere|resumes|says"
    ),
    "the destination promises and does not keep it": Defect(
        _promise_that_is_not_kept, "two copies|run on elsewhere|resumes"
    ),
    "the destination promises while it starts": Defect(_gone_while_starting, "two copies|resumes"),
    "the destination forgets, and takes that for a promise": Defect(_destination_forgets, "resumes|kills|two copies"),
    "the destination forgets, and says so": Defect(_destination_forgets_and_says_so, "never settles|kills"),
    "the destination promises where there is no witness": Defect(
        _no_witness_taken_for_gone, "says 'gone'|resumes", _TWO_FAULTS
    ),
    "the destination kills what runs when it is started again": Defect(
        _restart_kills_what_runs, "kills the guest|says"
    ),
    "the destination says 'arrived' of what never ran": Defect(_restart_takes_waiting_for_arrived, "never run there"),
    "the source asks only once": Defect(_never_asks_again, "never settles", _TWO_FAULTS),
    "the source resumes after the switch": Defect(
        _resume_after_the_switch, "resumes|settles|two copies|run on elsewhere", _POSTCOPY
    ),
    "the source goes before its pages are there": Defect(_kill_before_all_is_there, "only whole copy", _POSTCOPY),
    "the destination gives up what may have switched": Defect(
        _gives_up_what_may_have_switched, "never settles", Setting(faults=0, wishes=1, postcopy=True)
    ),
    "the source takes the beginning of post-copy for the switch": Defect(
        _begun_taken_for_switched, "two copies|resumes|run on elsewhere", _ANSWERED
    ),
    "the source does not call off what it has taken back": Defect(_half_not_called_off, "never settles", _ANSWERED),
    "the source asks where it has taken the guest back": Defect(
        _restart_asks_what_has_come_back, "two copies|resumes|run on elsewhere|cannot", _ANSWERED
    ),
    "the source grants while its QEMU hangs, for the destination has switched": Defect(
        _grants_behind_a_qemu_that_hangs, "two copies|resumes|run on elsewhere", replace(_ANSWERED, faults=2)
    ),
    "the host starts what has left, whatever the journal says": Defect(
        _host_asks_for_no_journal, "run on elsewhere", Setting(faults=1, wishes=0, power=True)
    ),
    "the host starts what has left when that could not be written": Defect(
        _host_asks_for_the_last_row_only, "run on elsewhere", Setting(faults=2, wishes=0, power=True)
    ),
    "a switch is cancelled": Defect(_cancels_a_switch, ".", Setting(faults=0, wishes=2, postcopy=True)),
}
