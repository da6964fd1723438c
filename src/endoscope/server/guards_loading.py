"""Opening the guards that a server is told of, with the models that they read."""

from collections.abc import Callable, Mapping, Sequence

from endoscope.engine import Model
from endoscope.engine.requests import Request
from endoscope.errors import InputError
from endoscope.guard import Guard, GuardStream, Policy
from endoscope.guard.guard import thresholds
from endoscope.guard.loading import ProbeScorer, languages, load_scorers, probe_folder
from endoscope.guard.side import SideWatch
from endoscope.interventions import Intervention
from endoscope.models import Site
from endoscope.probes import Probe
from endoscope.readouts import Readout
from endoscope.server.guards import JUDGE, ServedGuard, Side, reading_guard

_STREAMING = "pii-gemma-3-270m-stream"
"""What `auto` means for a stream: a probe of one reading, English and Japanese."""

Check = Callable[[Sequence[Intervention]], object]


def load_guards(
    policies: Mapping[str, Policy], model: Model, check: Check, device: str
) -> dict[str, ServedGuard]:
    """Open the probes that policies name.

    A probe of the serving model reads what generating computes anyway; another reads a side model
    as the text comes.

    Args:
        policies: by name.
        model: the model that is served.
        check: refuses interventions that do not fit it.
        device: where side models run.

    Raises:
        InputError: a policy cannot be used here.
    """
    return {name: _load(name, policy, model, check, device) for name, policy in policies.items()}


def _load(name: str, policy: Policy, model: Model, check: Check, device: str) -> ServedGuard:
    for rule in policy.labels.values():
        if rule.judge not in (None, JUDGE):
            raise InputError(
                f"The policy {name} names a judge that a server does not have.",
                f"Write `judge: {JUDGE}` to ask the model that is served, or give a hook.",
            )
        if rule.action == "steer":
            if not model.capabilities.midway:
                raise InputError(
                    f"The policy {name} steers, and on vLLM no running request can be changed.",
                    "Stop or redact; or serve with the transformers engine.",
                )
            check(rule.steering(policy.folder))
    if policy.scope == "document":
        return _judging(name, policy, model)
    scorers = load_scorers(policy, device=device)
    offline = Guard(policy, scorers)
    scorer = _streaming(name, policy, [s for s in scorers.values() if isinstance(s, ProbeScorer)])
    limits = thresholds(policy, scorer)
    if scorer.probe.card.model.relation(model.fingerprint) == "same":
        check_sites(scorer.probe.readout, model.engine.check, f"policy {name}")
        return reading_guard(
            name, policy, scorer.probe.readout, limits, offline, languages(scorer.probe)
        )

    def watch(request: Request) -> SideWatch:
        stream = GuardStream(policy, scorer.labels, limits, languages=languages(scorer.probe))
        return SideWatch(stream, scorer)

    side = Side(scorer.model.name, lambda made: (made.reader.tokens, made.reader.seconds))
    return ServedGuard(name, policy, watch, {}, offline, side)


def _judging(name: str, policy: Policy, model: Model) -> ServedGuard:
    """A guard that judges answers as a whole, by a probe of the serving model."""
    wanted = policy.probe_for("en")
    if wanted is None or wanted == "auto":
        raise InputError(f"The policy {name} judges texts as a whole.", "Name its probe.")
    probe = Probe.load(probe_folder(wanted, policy.folder))
    if probe.pooling is None or probe.card.model.relation(model.fingerprint) == "foreign":
        raise InputError(
            f"The probe of the policy {name} does not judge texts of this model.",
            "Fit one with document labels on the model that is served.",
        )
    check_sites(probe.readout, model.engine.check, f"policy {name}")
    return reading_guard(name, policy, probe.readout, thresholds(policy, probe), offline=None)


def check_sites(readout: Readout, check: Callable[[Site], None], of: str) -> None:
    """Refuse what reads sites that the engine was not started with.

    Raises:
        InputError: says which, and of what.
    """
    for site in readout.spec.sites:
        try:
            check(site)
        except InputError as error:
            raise InputError(f"The {of}: {error.message}", error.hint) from None


def _streaming(name: str, policy: Policy, scorers: Sequence[ProbeScorer]) -> ProbeScorer:
    """The scorer of a stream: one probe of one reading for all languages."""
    (*others, last) = scorers
    if all(one is last for one in others) and last.look_ahead is not None:
        return last
    if policy.probe != "auto":
        raise InputError(
            f"The probe of the policy {name} cannot score a stream: it reads texts twice, or there "
            "is one for each language.",
            f"Name one of one reading, such as {_STREAMING}.",
        )
    return ProbeScorer(Probe.load(probe_folder(_STREAMING, policy.folder)), last.model)
