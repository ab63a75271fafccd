"""Studies and the run store: what is asked for, what is kept, what happens when files are damaged."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from scalinglaws import __main__ as cli
from scalinglaws.lm import runs as views
from scalinglaws.lm import store as stores
from scalinglaws.lm import study as studies
from scalinglaws.lm import sweep as sweeps
from scalinglaws.lm.config import Run
from scalinglaws.lm.store import Store, StoreError
from scalinglaws.lm.train import Trainer
from scalinglaws.studies import study as files

OF_RUNS = [n for n in files.names() if files.of_runs(files.read(n)[1])]
RUN = Run(
    corpus="known_entropy", n_layer=1, d_model=4, n_head=1, context=8, batch=2, tokens=160,
    learning_rate=0.01, precision="fp32", evaluation_tokens=80, evaluate_at=(80, 160),
)  # fmt: skip
FACTS = {
    "commit": "abc", "date": "2026-01-01", "processor": "p", "gpu": "", "torch": "2", "replicas": 1, "compiled": False,
}  # fmt: skip


@pytest.fixture
def result():
    return Trainer([RUN]).train()[0]


def test_a_row_says_all_and_reads_back(tmp_path, result):
    store = Store("s", "cpu", tmp_path)
    store.put(RUN, result, FACTS)
    (row,) = store.table().to_dict("records")
    assert tuple(row) == stores.COLUMNS
    assert row["hash"] == RUN.hash
    fields = {k: row[k].tolist() if hasattr(row[k], "tolist") else row[k] for k in RUN.to_dict()}
    assert Run.from_dict(fields) == RUN
    assert row["loss"] == result["loss"]
    assert list(row["evaluation_loss"]) == result["evaluation_loss"]
    assert (row["commit"], row["processor"], row["seed"]) == ("abc", "p", 0)
    assert row["flops"] == 6 * (12 * 16 + 32 * 4) * 160


def test_loose_and_packed_rows_count_once(tmp_path, result):
    store = Store("s", "cpu", tmp_path)
    store.put(RUN, result, FACTS)
    store.pack()
    other = RUN.with_(seed=1)
    store.put(other, result, FACTS)
    store.put(RUN, result, FACTS | {"commit": "newer"})
    table = store.table()
    assert sorted(table["hash"]) == sorted([RUN.hash, other.hash])
    assert table.set_index("hash").loc[RUN.hash, "commit"] == "newer"
    store.pack()
    for path in store.loose.glob("*.parquet"):
        path.unlink()
    pd.testing.assert_frame_equal(store.table(), table)


def test_a_damaged_run_file_is_set_aside(tmp_path, result):
    store = Store("s", "cpu", tmp_path)
    store.put(RUN, result, FACTS)
    other = RUN.with_(seed=1)
    store.put(other, result, FACTS)
    path = store.path(RUN.hash)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)
    assert store.done() == {other.hash}
    assert path.with_suffix(".damaged").exists()
    # a file under another run's name is no result of that run
    store.path(other.hash).replace(path)
    assert store.done() == set()


def test_a_damaged_table_is_an_error_with_the_remedy(tmp_path, result):
    store = Store("s", "cpu", tmp_path)
    store.put(RUN, result, FACTS)
    store.pack()
    store.table_path.write_bytes(store.table_path.read_bytes()[:-50])
    with pytest.raises(StoreError, match="git checkout"):
        store.table()


@pytest.mark.long
def test_every_flipped_byte_is_noticed_or_harmless(tmp_path, result):
    """Page checksums: a flipped byte never changes a number silently."""
    store = Store("s", "cpu", tmp_path)
    store.put(RUN, result, FACTS)
    path = store.path(RUN.hash)
    good = path.read_bytes()
    expected = store.table()
    noticed = 0
    for at in range(0, len(good), max(1, len(good) // 600)):
        bad = bytearray(good)
        bad[at] ^= 0x55
        path.write_bytes(bytes(bad))
        table = store.table()
        if len(table):
            pd.testing.assert_frame_equal(table, expected)
        else:
            noticed += 1
            path.with_suffix(".damaged").unlink()
    assert noticed > 100


def test_a_table_older_than_a_field_still_reads(tmp_path, result):
    store = Store("s", "cpu", tmp_path)
    store.put(RUN, result, FACTS)
    path = store.path(RUN.hash)
    old = pq.read_table(path).drop_columns(["weight_decay"])
    pq.write_table(old, path)
    assert store.table()["weight_decay"].tolist() == [0.01]
    pq.write_table(old.drop_columns(["loss"]), path)
    assert store.done() == set()  # a row without its result is damage, not age


def test_claims_exclude_each_other(tmp_path, result):
    first, second = Store("s", "cpu", tmp_path), Store("s", "cpu", tmp_path)
    with first.claim(RUN.hash) as mine, second.claim(RUN.hash) as theirs:
        assert mine
        assert not theirs
    with second.claim(RUN.hash) as free:
        assert free
    first.put(RUN, result, FACTS)
    with second.claim(RUN.hash) as done:
        assert not done


def test_half_written_files_of_dead_processes_are_cleared(tmp_path, result):
    store = Store("s", "cpu", tmp_path)
    store.put(RUN, result, FACTS)
    dead = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True).stdout.strip()
    leftover = store.loose / f"x.parquet.{socket.gethostname()}-{dead}.part"
    writing = store.loose / f"x.parquet.{socket.gethostname()}-{os.getpid()}.part"
    elsewhere = store.loose / f"x.parquet.another-host-{dead}.part"
    for path in (leftover, writing, elsewhere):
        path.touch()
    store.tidy()
    assert not leftover.exists()
    assert writing.exists()
    assert elsewhere.exists()
    assert store.done() == {RUN.hash}


def test_a_file_that_cannot_be_opened_is_not_called_damaged(tmp_path, result, monkeypatch):
    store = Store("s", "cpu", tmp_path)
    store.put(RUN, result, FACTS)

    def refuse(*a, **k):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(stores.pq, "read_table", refuse)
        with pytest.raises(StoreError, match="Permission denied"):
            store.table()
    assert store.done() == {RUN.hash}


def test_views_of_runs_without_a_curve_are_empty(tmp_path, result):
    store = Store("e", "cpu", tmp_path)
    store.put(RUN, result | {"curve_tokens": [], "curve_loss": []}, FACTS)
    table = store.table()
    assert len(views.as_curves(table)) == len(views.to_reach(table, [3.0])) == len(views.branches(table)) == 0
    assert list(views.branches(table)) == ["N", "N_total", "D", "loss", "C", "run"]
    diverged = table.assign(loss=float("nan"))
    assert len(views.tuned(diverged)) == 0
    with pytest.raises(ValueError, match="cut corpus"):
        views.as_curves(table.assign(unique_tokens=100))


def test_obtain_asks_for_every_run(monkeypatch):
    stored = stores.load_runs("isoflop")
    monkeypatch.setattr(sweeps, "load_runs", lambda name, profile: stored.iloc[1:])
    with pytest.raises(RuntimeError, match="isoflop: 1 of"):
        sweeps.obtain("isoflop")


def test_load_runs_names_the_remedy():
    with pytest.raises(StoreError, match="sweep nothing --profile cpu"):
        stores.load_runs("nothing")


@pytest.mark.parametrize("name", OF_RUNS)
@pytest.mark.parametrize("profile", ["smoke", "cpu", "gpu"])
def test_committed_studies_load(name, profile):
    study = studies.load(name, profile)
    assert study.question.endswith("?")
    assert len({r.hash for r in study.runs}) == len(study.runs) >= 2


def chapters_use(name, profile):
    """Whether a chapter reads the committed table of a study."""
    asks = [f'load_runs("{name}", "{profile}"'] + ([f'obtain("{name}"'] if profile == "cpu" else [])
    texts = [p.read_text(encoding="utf-8") for p in (ROOT / "notebooks").rglob("*.md")]
    return any(ask in text for ask in asks for text in texts)


@pytest.mark.parametrize("name", OF_RUNS)
@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_committed_tables_hold_what_the_study_asks_for(name, profile):
    """Every stored run is one the study file asks for, ended, with its provenance; a chapter needs them all."""
    store = Store(name, profile)
    asked = {r.hash for r in studies.load(name, profile).runs}
    if not store.table_path.exists():
        assert not chapters_use(name, profile), f"a chapter reads {name}, whose runs are not stored"
        return
    table = stores.read_table(store.table_path)
    assert len(table) > 0
    assert set(table["hash"]) <= asked
    if chapters_use(name, profile):
        assert set(table["hash"]) == asked
    assert table["status"].isin(["finished", "stopped early", "diverged"]).all()
    assert (table["commit"].str.len() >= 12).all()
    assert not table["commit"].str.contains("changes").any()
    assert ((table["gpu"] != "") == (profile == "gpu")).all()
    for row in table.sample(5, random_state=0).itertuples():
        fields = {k: getattr(row, k) for k in RUN.to_dict()}
        fields = {k: v.tolist() if hasattr(v, "tolist") else v for k, v in fields.items()}
        assert Run.from_dict(fields).hash == row.hash


@pytest.mark.long
def test_the_gpu_profile_begins_with_the_committed_table(tmp_path, monkeypatch):
    """What is stored is read, what is missing is trained and kept under _build, nothing twice."""
    (tmp_path / "data" / "studies").mkdir(parents=True)
    (tmp_path / "data" / "registry.toml").touch()
    (tmp_path / "data" / "studies" / "mini.yaml").write_text(
        "question: q?\ndefaults: {corpus: known_entropy, context: 8, batch: 2, evaluation_tokens: 80, tokens: 320}\n"
        "profiles:\n  gpu:\n    - {shape: 1x4x1, learning_rate: [0.01, 0.02]}\n"
    )
    monkeypatch.setenv("SCALINGLAWS_ROOT", str(tmp_path))
    first, second = studies.load("mini", "gpu").runs
    store = Store("mini", "gpu")
    sweeps.train_runs([first], store)
    store.pack()
    committed = store.table()
    assert set(sweeps.obtain("mini", "gpu", workers=1)["hash"]) == {first.hash, second.hash}
    assert Store("mini", "gpu", tmp_path / "_build" / "runs").done() == {second.hash}
    pd.testing.assert_frame_equal(store.table(), committed)
    monkeypatch.setenv("SCALINGLAWS_RETRAIN", "1")
    sweeps.obtain("mini", "gpu", workers=1)
    assert Store("mini", "gpu", tmp_path / "_build" / "runs").done() == {first.hash, second.hash}


ROOT = Path(__file__).resolve().parents[1]
GOOD = """
question: why?
defaults: {corpus: known_entropy, context: 8, batch: 2, evaluation_tokens: 80}
profiles:
  cpu:
    - {shape: [1x4x1, 1x8x2], budget: [1e6, 2e6], learning_rate: [0.01, 0.02], keep: {tokens: [0, 1000]}}
    - {shape: 1x4x1, tokens: 1e3, rate_by_shape: {1x4x1: 0.5}, warmup_share: 0.1, measurements: 4}
    - {shape: 1x4x1, tokens_per_N: 10, learning_rate: 0.01, warmup_per_N_total: 0.25}
"""


def write(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_a_study_multiplies_out(tmp_path):
    study = studies.load("mine", "cpu", write(tmp_path, GOOD))
    budget = {(r.d_model, r.tokens) for r in study.runs[:-2]}
    total4, total8 = 12 * 16 + 32 * 4, 12 * 64 + 32 * 8
    expected = {(4, round(1e6 / 6 / total4)), (8, round(1e6 / 6 / total8)), (8, round(2e6 / 6 / total8))}
    assert budget == expected  # 2e6 at width 4 is more than 1000 tokens
    assert len(study.runs) == 2 * 3 + 2
    *_, last, by_parameters = study.runs
    assert (by_parameters.tokens, by_parameters.warmup) == (10 * 12 * 16, total4 // 4)
    assert (last.learning_rate, last.warmup, len(last.evaluate_at), max(last.evaluate_at)) == (
        0.5,
        100,
        4,
        1000,
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("learning_rate: [0.01", "learning_rat: [0.01", "mine.yaml, cpu, entry 1: unknown key 'learning_rat'; did you mean 'learning_rate'?"),
        ("profiles:", "profile:", "mine.yaml: unknown key 'profile'; did you mean 'profiles'?"),
        ("1x8x2", "1x8", "shape must be LAYERSxWIDTHxHEADS"),
        ("1x8x2", "1x8x3", "n_head = 3 must divide d_model = 8"),
        ("0.02]", "fast]", "learning_rate must be a number, got 'fast'"),
        ("[1e6, 2e6]", "[1e6, 2e6", "not valid YAML"),
        ("rate_by_shape: {1x4x1", "rate_by_shape: {1x5x1", "rate_by_shape has no entry for shape '1x4x1'"),
        ("keep: {tokens", "keep: {token", "keep takes"),
        ("known_entropy", "known_entropie", "no corpus 'known_entropie'"),
        ("  cpu:", "  cpo:", "no profile 'cpu'; it has: cpo"),
        ("measurements: 4", "measurements: many", "measurements must be a number, got 'many'"),
        ("measurements: 4", "branches: [1e2, x]", "branches must be a number, got 'x'"),
        ("tokens: 1e3", "tokens: .inf", "tokens must be a number, got inf"),
        ("keep: {tokens: [0, 1000]}", "keep: 5", "keep takes"),
        ("corpus: known_entropy", "corpus: 3", "3"),
        ("measurements: 4", "transfer: gutenberg", "their tokens mean different things"),
        ("tokens: 1e3, ", "", "tokens is missing"),
        ("learning_rate: 0.01, warmup", "lr: 0.01, warmup", "unknown key 'lr'; did you mean 'learning_rate'?"),
        ("context: 8", "context: eight", "mine.yaml, cpu, entry 1: context = 'eight' must be a whole number"),
    ],
)  # fmt: skip
def test_a_typo_in_a_study_is_one_clear_line(tmp_path, capsys, old, new, message):
    path = write(tmp_path, GOOD.replace(old, new))
    code = cli.main(["sweep", str(path), "--dry-run", "--store", str(tmp_path)])
    error = capsys.readouterr().err
    assert code == 2
    assert message in error
    assert error.count("\n") == 1


def test_unknown_study_is_suggested(capsys):
    assert cli.main(["sweep", "isoflops"]) == 2
    assert "did you mean 'isoflop'?" in capsys.readouterr().err


def test_dry_run_prints_the_cost_and_trains_nothing(tmp_path, capsys):
    path = write(tmp_path, GOOD)
    assert cli.main(["sweep", str(path), "--dry-run", "--store", str(tmp_path / "store")]) == 0
    out = capsys.readouterr().out
    assert "8 runs, 0 stored, 8 to train" in out
    assert "FLOPs" in out
    assert "hours" in out
    assert not list((tmp_path / "store").rglob("*.parquet"))


def test_the_table_is_plain_parquet(tmp_path, result):
    store = Store("s", "cpu", tmp_path)
    store.put(RUN, result, FACTS)
    schema = pq.read_schema(store.path(RUN.hash))
    assert json.loads(schema.metadata[b"format"]) == {"scalinglaws-runs": 1}
    assert set(schema.names) == set(stores.COLUMNS)


def rows(tmp_path, result, runs_and_losses):
    store = Store("v", "cpu", tmp_path)
    for run, loss in runs_and_losses:
        store.put(run, result | {"loss": loss, "status": "finished"}, FACTS)
    return store


def test_tuned_keeps_the_best_rate_with_all_its_seeds(tmp_path, result):
    runs = [(RUN.with_(learning_rate=lr, seed=s), loss + s / 100)
            for lr, loss in ((0.01, 3.0), (0.02, 2.5), (0.04, 2.7)) for s in (0, 1)]  # fmt: skip
    runs += [(RUN.with_(tokens=320, learning_rate=lr), loss) for lr, loss in ((0.01, 2.9), (0.02, 2.8))]
    runs += [(RUN.with_(learning_rate=0.08), float("nan"))]
    best = views.tuned(rows(tmp_path, result, runs).table())
    short, long = best[best["tokens"] == 160], best[best["tokens"] == 320]
    assert sorted(short["loss"]) == [2.5, 2.51]
    assert not short["edge"].any()
    assert long["loss"].tolist() == [2.8]
    assert long["edge"].all()  # the largest rate tried: the best may lie beyond


def test_curves_are_tidy_and_in_order(tmp_path, result):
    long = RUN.with_(tokens=16 * 400)
    table = rows(tmp_path, Trainer([long]).train()[0], [(long, 3.0)]).table()
    curve = views.as_curves(table, "non-embedding")
    assert (curve["N"] == 12 * 16).all()
    assert (curve["C"] == 6 * table["N_total"][0] * curve["D"]).all()
    assert curve["D"].is_monotonic_increasing
    assert curve["D"].max() < 16 * 400
    assert views.as_runs(table, "total")["N"].tolist() == [12 * 16 + 32 * 4]


def test_fit_reads_a_stored_table(tmp_path, result, capsys):
    """Losses planted on a known law come back through `sweep`'s table and `fit`."""
    from scalinglaws.laws import Chinchilla

    law = Chinchilla(E=1.5, A=4.0, B=60.0, alpha=0.3, beta=0.4)
    runs = []
    for width in (4, 6, 8, 12, 16):
        for tokens in (1600, 6400, 25600, 102400):
            run = RUN.with_(d_model=width, n_head=1, tokens=tokens, evaluate_at=())
            N, D = run.size(32)["N_total"], run.steps * run.tokens_per_step
            runs.append((run, N, D, law.predict(N, D)))
    store = Store("v", "cpu", tmp_path)
    for run, N, D, loss in runs:
        store.put(
            run, result | {"loss": loss, "N_total": N, "D": D, "C": 6.0 * N * D, "status": "finished"}, FACTS
        )
    path = store.pack()
    assert cli.main(["fit", str(path), "--json", "--bootstrap", "0"]) == 0
    found = json.loads(capsys.readouterr().out)["params"]
    assert found["alpha"] == pytest.approx(0.3, abs=1e-3)
    assert found["beta"] == pytest.approx(0.4, abs=1e-3)
    assert cli.main(["fit", str(tmp_path / "none.parquet")]) == 2
    assert "no such file" in capsys.readouterr().err
    path.write_bytes(b"PAR1 not really")
    assert cli.main(["fit", str(path)]) == 2
    assert "a damaged Parquet file" in capsys.readouterr().err


def curve_row(tmp_path, result, run, tokens, losses):
    store = Store(f"c{run.hash}", "cpu", tmp_path)
    store.put(run, result | {"curve_tokens": tokens, "curve_loss": losses, "D": tokens[-1]}, FACTS)
    return store.table()


def test_steps_to_a_loss_are_interpolated_on_the_curve(tmp_path, result):
    tokens = [round(1000 * 2 ** (k / 4)) for k in range(40)]
    middle = [(a * b) ** 0.5 for a, b in zip([tokens[0] / 2, *tokens[:-1]], tokens, strict=True)]
    table = curve_row(tmp_path, result, RUN, tokens, [10 * m**-0.1 for m in middle])
    losses = [4.0, 3.0, 2.6, 0.1]
    found = views.to_reach(table, losses)
    assert found["loss"].tolist() == [4.0, 3.0, 2.6]  # .1 was never reached
    expected = [(10 / loss) ** 10 for loss in losses[:3]]
    assert found["tokens"].tolist() == pytest.approx(expected, rel=0.01)
    assert (found["steps"] * 16).tolist() == pytest.approx(found["tokens"].tolist())


def test_noise_scales_divide_means(tmp_path, result):
    row = result | {"noise_gradient": [1.0, -0.5, 1.0, 4.0], "noise_trace": [10.0, 20.0, 30.0, 40.0],
                    "evaluation_tokens_seen": [10, 20, 30, 40], "evaluation_loss": [4.0, 3.5, 3.0, 2.5]}  # fmt: skip
    store = Store("n", "cpu", tmp_path)
    store.put(RUN, row, FACTS)
    found = views.noise_scales(store.table())
    assert found["scale"].tolist() == pytest.approx([60 / 1.5 * 8, 90 / 4.5 * 8])
    assert found["loss"].tolist() == [3.5, 3.0]


def test_budgets_are_read_off_the_evaluations(tmp_path, result):
    seen = [1000 * 2**k for k in range(8)]
    row = result | {
        "evaluation_tokens_seen": seen,
        "evaluation_loss": [9 * s**-0.2 for s in seen],
        "D": seen[-1],
    }
    store = Store("b", "cpu", tmp_path)
    store.put(RUN, row, FACTS)
    table = store.table()
    N = table["N_total"][0]
    found = views.at_budgets(table, [6 * N * D for D in (500, 3000, 50_000, 10**6)], least_tokens=1000)
    assert found["D"].tolist() == pytest.approx([3000, 50_000])
    assert found["loss"].tolist() == pytest.approx(
        [9 * 3000**-0.2, 9 * 50_000**-0.2]
    )  # a power law is straight here
    assert (found["C"] == 6 * found["N"] * found["D"]).all()
    assert set(found["run"]) == {table["hash"][0]}


def test_fit_reads_the_cooldowns_of_a_stored_trunk(tmp_path, result, capsys):
    """A trunk with branches counts as a run at each of its lengths; the law planted there comes back."""
    from scalinglaws.laws import Chinchilla

    law = Chinchilla(E=1.5, A=4.0, B=60.0, alpha=0.3, beta=0.4)
    lengths = (1600, 6400, 25600, 102400)
    store = Store("w", "cpu", tmp_path)
    for width in (4, 6, 8, 12, 16):
        run = RUN.with_(
            d_model=width, n_head=1, tokens=lengths[-1], evaluate_at=(), schedule="wsd", branches=lengths
        )
        N = run.size(32)["N_total"]
        losses = [float(law.predict(N, D)) for D in lengths]
        found = {
            "loss": losses[-1],
            "N_total": N,
            "D": lengths[-1],
            "C": 6.0 * N * lengths[-1],
            "status": "finished",
        }
        store.put(run, result | found | {"branch_tokens": list(lengths), "branch_loss": losses}, FACTS)
    assert cli.main(["fit", str(store.pack()), "--json", "--bootstrap", "0"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 20
    assert found["params"]["E"] == pytest.approx(1.5, abs=1e-3)
    assert found["params"]["alpha"] == pytest.approx(0.3, abs=1e-3)


def test_kept_files_notice_one_flipped_bit_in_their_data(tmp_path):
    import torch

    from scalinglaws import store

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=500), "name": ["a", "b"] * 250})
    kept = {
        "t.parquet": (store.table_bytes(frame), lambda p: store.read_table(p).equals(frame)),
        "m.safetensors": (
            store.tensor_bytes({"w": torch.arange(300.0)}, {"about": "{}"}),
            lambda p: torch.equal(store.read_tensors(p)[0]["w"], torch.arange(300.0)),
        ),
    }
    for name, (content, same) in kept.items():
        path = tmp_path / name
        store.write_whole(path, content)
        assert same(path)
        noticed = 0
        footer = int.from_bytes(content[-8:-4], "little") + 8 if name.endswith("parquet") else 0
        for position in rng.integers(0, len(content) - footer, 60):  # Parquet's footer has no checksum
            damaged = bytearray(content)
            damaged[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            try:
                assert same(path)  # what is read is never another number
            except store.StoreError as error:
                noticed += name in str(error)
        assert noticed > 40


def test_a_document_that_was_changed_is_named(tmp_path):
    from scalinglaws import store

    path = tmp_path / "d.json"
    store.write_document(path, {"x": 1.5, "y": ["ä", None]})
    assert store.read_document(path) == {"x": 1.5, "y": ["ä", None]}
    path.write_text(path.read_text().replace("1.5", "1.6"))
    with pytest.raises(store.StoreError, match=r"d\.json is damaged"):
        store.read_document(path)


def test_an_unwritable_place_is_found_before_the_work(tmp_path):
    from scalinglaws import store

    (tmp_path / "file").write_text("")
    with pytest.raises(store.StoreError, match="cannot write"):
        store.check_writable(tmp_path / "file" / "folder")


def test_the_spread_between_seeds_is_pooled_over_equal_runs():
    rng = np.random.default_rng(0)
    base = dict(corpus="known_entropy", n_layer=1, n_head=1, tokens=1000)
    runs = [
        Run(d_model=d, learning_rate=rate, seed=s, **base).to_dict() | {"loss": np.exp(d / 10 + rate + rng.normal(0, 0.02))}
        for d in (4, 8) for rate in (0.01, 0.02) for s in range(40)
    ]  # fmt: skip
    table = pd.DataFrame(runs)
    assert views.seed_spread(table) == pytest.approx(0.02, rel=0.15)
    table.loc[0, "loss"] = np.nan  # a diverged run
    assert views.seed_spread(table) == pytest.approx(0.02, rel=0.15)
    assert np.isnan(views.seed_spread(table[table["seed"] == 1]))
