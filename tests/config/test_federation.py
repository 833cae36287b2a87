from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.config.federation import load_catalogue
from router.domain.catalogue import Floor, Option
from router.domain.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]

MINIMAL = "models:\n  a:1b:\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "models.yaml"
    path.write_text(text, "utf-8")
    return path


def refused(folder: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_catalogue(write(folder, text))
    assert caught.value.file == str(folder / "models.yaml")
    return caught.value


def test_the_default_federation_has_three_models_with_weights_that_can_be_checked() -> None:
    catalogue = load_catalogue(ROOT / "models.yaml")
    assert list(catalogue.models) == ["smollm2:135m", "qwen2.5-coder:0.5b", "qwen2.5-coder:1.5b"]
    assert [model.parameters for model in catalogue.models.values()] == [1.35e8, 4.94e8, 1.54e9]
    assert [model.weights and model.weights.bytes for model in catalogue.models.values()] == [
        98_362_432,
        491_400_064,
        1_117_320_768,
    ]
    assert [model.weights and len(model.weights.packages) for model in catalogue.models.values()] == [1, 6, 22]
    assert {model.licence for model in catalogue.models.values()} == {"Apache-2.0"}
    assert len(catalogue.options()) == 9


def test_the_default_site_spreads_its_embodied_carbon_over_four_years() -> None:
    local = load_catalogue(ROOT / "models.yaml").sites["local"]
    assert local.k1_g_per_s == pytest.approx(574_100 / (4 * 365 * 24 * 3600))
    assert (local.engine, local.url, local.zone) == ("auto", "http://127.0.0.1:11434", "DE")


def test_the_gpu_example_has_the_eight_models_of_the_paper() -> None:
    catalogue = load_catalogue(ROOT / "models.gpu.yaml")
    assert {name.split(":")[0] for name in catalogue.models} == {
        "codellama",
        "gemma",
        "llama3",
        "mistral",
        "sqlcoder",
        "stablelm2",
        "tinyllama",
        "wizard-math",
    }
    assert catalogue.sites["local"].engine == "ollama"
    assert catalogue.reference in catalogue.models


def test_one_model_name_is_a_whole_federation(tmp_path: Path) -> None:
    catalogue = load_catalogue(write(tmp_path, MINIMAL))
    assert catalogue.options() == (Option("a:1b", "L0", "local"),)
    assert catalogue.floor == Floor(0.95)
    assert catalogue.sites["local"].engine == "auto"


def test_the_example_of_the_design_is_read_as_written(tmp_path: Path) -> None:
    catalogue = load_catalogue(
        write(
            tmp_path,
            """
directives: {L0: "", L1: "Always answer briefly.", L2: "Always answer very briefly."}
floor: .95                      # share of the reference; never undercut
aliases: {gpt-4o: auto, mini: "qwen2.5-coder:1.5b@L1", brief: auto@L2, tasks: auto-side}
sites:
  local: {engine: auto, url: "http://127.0.0.1:11434", zone: NO, intensity_g_per_kwh: 385, pue: 1.0,
          embodied_g: {low: 1, mid: 2e3, high: 3e6, source: a guess}, lifetime_s: 1.26e8, memory_bytes: 6e9}
models:
  qwen2.5-coder:1.5b:
    parameters: 1.54e9
    context: 32768
    licence: Apache-2.0
    sites: [local]
    tags: {local: "hf.co/some/model:Q4"}
    weights: {packages: [a==1, b==2.0], files: "*/data/part*.bin", bytes: 10, sha256: %s}
"""
            % ("A" * 64),
        )
    )
    model = catalogue.models["qwen2.5-coder:1.5b"]
    assert model.parameters == 1.54e9
    assert model.weights is not None
    assert model.weights.sha256 == "a" * 64
    assert model.tags == {"local": "hf.co/some/model:Q4"}
    assert catalogue.aliases["mini"] == "qwen2.5-coder:1.5b@L1"
    assert catalogue.aliases["tasks"] == "auto-side"
    site = catalogue.sites["local"]
    assert site.zone == "NO", "Norway, not False"
    assert site.memory_bytes == 6_000_000_000
    assert site.embodied is not None
    assert (site.embodied.low_g, site.embodied.mid_g, site.embodied.high_g) == (1, 2e3, 3e6)


def test_l0_is_added_first_where_it_is_missing(tmp_path: Path) -> None:
    catalogue = load_catalogue(write(tmp_path, MINIMAL + "directives: {L1: Be brief.}\n"))
    assert [(d.name, d.text) for d in catalogue.directives.values()] == [("L0", ""), ("L1", "Be brief.")]


@pytest.mark.parametrize(
    ("written", "floor"),
    [(".9", Floor(0.9)), ("1", Floor(1.0)), (".72abs", Floor(0.72, True)), ("'.72abs'", Floor(0.72, True))],
)
def test_a_floor_is_a_share_or_an_absolute_accuracy(tmp_path: Path, written: str, floor: Floor) -> None:
    assert load_catalogue(write(tmp_path, MINIMAL + f"floor: {written}\n")).floor == floor


@pytest.mark.parametrize("written", ["off", "null", "~", ""])
def test_slack_can_be_switched_off(tmp_path: Path, written: str) -> None:
    assert load_catalogue(write(tmp_path, MINIMAL + f"slack: {written}\n")).slack is None


def test_a_single_site_of_another_name_runs_the_models(tmp_path: Path) -> None:
    catalogue = load_catalogue(write(tmp_path, MINIMAL + "sites: {hall: {zone: SE}}\n"))
    assert catalogue.models["a:1b"].sites == ("hall",)


def test_a_relative_weights_path_is_meant_from_the_files_folder(tmp_path: Path) -> None:
    catalogue = load_catalogue(write(tmp_path, "models: {a: {weights: {path: a.gguf}}}"))
    weights = catalogue.models["a"].weights
    assert weights is not None
    assert weights.path == str(tmp_path / "a.gguf")


def test_policies_are_checked_where_they_are_known(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "policy: jiont\n")
    assert load_catalogue(path).policy == "jiont"
    with pytest.raises(ConfigError, match=r"models.yaml:3: `policy`: unknown policy 'jiont'; did you mean `joint`\?"):
        load_catalogue(path, policies={"joint", "nearest"})


# Each: the file's text, the line and the key the complaint names, and words it must contain.
MISTAKES = [
    ("modles:\n  a: {}\n", 1, "modles", "did you mean `models`"),
    ("models:\n  a:\n    contxt: 5\n", 3, "models.a.contxt", "did you mean `context`"),
    ("models:\n  a:\n    zzz: 5\n", 3, "models.a.zzz", "known here: context, licence"),
    ("models:\n  a:\n    sites: [locl]\n", 3, "models.a.sites[0]", "did you mean `local`"),
    ("models:\n  a:\n    sites:\n      - local\n      - x\n", 5, "models.a.sites[1]", "unknown site 'x'"),
    ("models:\n  a:\n    sites: [local, local]\n", 3, "models.a.sites[1]", "twice"),
    ("models:\n  a:\n    sites: []\n", 3, "models.a.sites", "at least one"),
    ("models:\n  a:\n    sites: local\n", 3, "models.a.sites", "expected a list"),
    ("models:\n  a:\nsites: {x: {}, y: {}}\n", 2, "models.a", "sites: [x, y]"),
    ("models:\n  a: {}\n  b: {}\n  a: {}\n", 4, "models.a", "duplicate key, first given in line 2"),
    ("models:\n  a: [1]\n", 2, "models.a", "found a list"),
    ("models: 5\n", 1, "models", "expected keys and values, found '5'"),
    ("models:\n", 1, "models", "no models"),
    ("floor: .9\n", 1, None, "no models"),
    ("models:\n  auto: {}\n", 2, "models.auto", "not `auto`"),
    ("models:\n  a@L1: {}\n", 2, "models.a@L1", "no `@`"),
    ("- a\n", 1, None, "found a list"),
    ("just words\n", 1, None, "found 'just words'"),
    (MINIMAL + "    context: many\n", 3, "models.a:1b.context", "'many'"),
    (MINIMAL + "    context: '8192'\n", 3, "models.a:1b.context", "leave the quotes out"),
    (MINIMAL + "    context: 10.5\n", 3, "models.a:1b.context", "whole number"),
    (MINIMAL + "    context: 0\n", 3, "models.a:1b.context", "at least 1"),
    (MINIMAL + "    parameters: -1.5e9\n", 3, "models.a:1b.parameters", "above 0"),
    (MINIMAL + "    parameters: .nan\n", 3, "models.a:1b.parameters", "a number"),
    (MINIMAL + "    parameters: inf\n", 3, "models.a:1b.parameters", "a number"),
    (MINIMAL + "    parameters: 1,5e9\n", 3, "models.a:1b.parameters", "'1,5e9'"),
    (MINIMAL + "    parameters: yes\n", 3, "models.a:1b.parameters", "'yes'"),
    (MINIMAL + "    tags: {elsewhere: b}\n", 3, "models.a:1b.tags.elsewhere", "unknown key"),
    (MINIMAL + "    weights: {bytes: 5}\n", 3, "models.a:1b.weights", "either `packages`"),
    (MINIMAL + "    weights: {packages: [x==1], path: y}\n", 3, "models.a:1b.weights", "either `packages`"),
    (MINIMAL + "    weights: {packages: [x==1]}\n", 3, "models.a:1b.weights", "`files` is missing"),
    (MINIMAL + "    weights: {packages: [x==1], files: y}\n", 3, "models.a:1b.weights", "`bytes` is missing"),
    (MINIMAL + "    weights: {packages: [x==1], files: y, bytes: 9}\n", 3, "models.a:1b.weights", "`sha256` is"),
    (
        MINIMAL + "    weights: {packages: [x], files: y, bytes: 9, sha256: %s}\n" % ("a" * 64),
        3,
        "models.a:1b.weights.packages[0]",
        "name==version",
    ),
    (MINIMAL + "    weights: {packages: [], files: y}\n", 3, "models.a:1b.weights.packages", "no packages"),
    (MINIMAL + "    weights: {path: y, sha256: abc}\n", 3, "models.a:1b.weights.sha256", "64 hexadecimal"),
    (MINIMAL + "floor: 1.2\n", 3, "floor", "between 0 and 1"),
    (MINIMAL + "floor: nan\n", 3, "floor", "between 0 and 1"),
    (MINIMAL + "floor: high\n", 3, "floor", "a share such as .95"),
    (MINIMAL + "floor: [.9]\n", 3, "floor", "expected a text"),
    (MINIMAL + "slack: 2\n", 3, "slack", "between 0 and 1"),
    (MINIMAL + "confidence: 1\n", 3, "confidence", "below 1"),
    (MINIMAL + "cascades: maybe\n", 3, "cascades", "auto, on or off"),
    (MINIMAL + "confidence: .3\n", 3, "confidence", "at least 0.5"),
    (MINIMAL + "policy: ''\n", 3, "policy", "empty"),
    (MINIMAL + "reference: b:1b\n", 3, "reference", "did you mean `a:1b`"),
    (MINIMAL + "directives:\n  L0: Hello\n", 4, "directives.L0", "must be empty"),
    (MINIMAL + "directives:\n  L1: ''\n", 4, "directives.L1", "only L0 may be empty"),
    (MINIMAL + "directives:\n  L1: [a]\n", 4, "directives.L1", "found a list"),
    (MINIMAL + "directives:\n  'L 1': a\n", 4, "directives.L 1", "made of letters"),
    (MINIMAL + "directives: [L0]\n", 3, "directives", "found a list"),
    (MINIMAL + "aliases:\n  gpt: b\n", 4, "aliases.gpt", "unknown model 'b'"),
    (MINIMAL + "aliases:\n  gpt: auto@L9\n", 4, "aliases.gpt", "unknown directive 'L9'"),
    (MINIMAL + "aliases:\n  gpt: auto@\n", 4, "aliases.gpt", "unknown directive ''"),
    (MINIMAL + "aliases:\n  a:1b: auto\n", 4, "aliases.a:1b", "already a model"),
    (MINIMAL + "aliases:\n  auto-side: auto\n", 4, "aliases.auto-side", "already a model"),
    (MINIMAL + "aliases:\n  one: auto\n  two: one\n", 5, "aliases.two", "unknown model 'one'"),
    (MINIMAL + "sites:\n  local: {url: 127.0.0.1:11434}\n", 4, "sites.local.url", "scheme"),
    (MINIMAL + "sites:\n  local: {url: 'http://h:99999'}\n", 4, "sites.local.url", "not a url"),
    (MINIMAL + "sites:\n  local: {url: 'ftp://h'}\n", 4, "sites.local.url", "scheme"),
    (MINIMAL + "sites:\n  local: {url: 'http://u:pw@h'}\n", 4, "sites.local.url", "password"),
    (MINIMAL + "sites:\n  local: {engine: olama}\n", 4, "sites.local.engine", "did you mean `ollama`"),
    (MINIMAL + "sites:\n  local: {engine: openai}\n", 4, "sites.local", "needs a url"),
    (MINIMAL + "sites:\n  local: {pue: .9}\n", 4, "sites.local.pue", "at least 1"),
    (MINIMAL + "sites:\n  local: {intensity_g_per_kwh: -1}\n", 4, "sites.local.intensity_g_per_kwh", "at least 0"),
    (MINIMAL + "sites:\n  local: {intensity_trace: t.csv}\n", 4, "sites.local.intensity_trace", "which column"),
    (
        MINIMAL + "sites:\n  local: {zone: DE, intensity_trace: t.csv, intensity_g_per_kwh: 1}\n",
        4,
        "sites.local.intensity_trace",
        "a fixed figure is given too",
    ),
    (
        MINIMAL + "sites:\n  local: {intensity_g_per_kwh: 1, intensity_fallback_g_per_kwh: 1}\n",
        4,
        "sites.local.intensity_fallback_g_per_kwh",
        "never fails",
    ),
    (
        MINIMAL + "sites:\n  local: {zone: DE, intensity_kind: marginal}\n",
        4,
        "sites.local.intensity_kind",
        "say themselves",
    ),
    (
        MINIMAL + "sites:\n  local: {intensity_g_per_kwh: 1, intensity_kind: marginl}\n",
        4,
        "sites.local.intensity_kind",
        "did you mean `marginal`",
    ),
    (MINIMAL + "sites:\n  local: {lifetime_s: 0}\n", 4, "sites.local.lifetime_s", "above 0"),
    (MINIMAL + "sites:\n  local: {resource_share: 1.5}\n", 4, "sites.local.resource_share", "at most 1"),
    (MINIMAL + "sites:\n  local: {slots: 0}\n", 4, "sites.local.slots", "at least 1"),
    (MINIMAL + "sites:\n  local: {embodied_g: 5}\n", 4, "sites.local.embodied_g", "expected keys"),
    (MINIMAL + "sites:\n  local: {embodied_g: {low: 1}}\n", 4, "sites.local.embodied_g", "`mid` is missing"),
    (
        MINIMAL + "sites:\n  local:\n    embodied_g:\n      {low: 3, mid: 2, high: 4}\n",
        5,
        "sites.local.embodied_g",
        "low <= mid <= high",
    ),
    (MINIMAL + "sites:\n  'my site': {}\n", 4, "sites.my site", "made of letters"),
    (MINIMAL + "? [a]\n: b\n", 3, None, "plain word"),
    ("models:\n  a: {\n", None, None, "not valid YAML"),
    ("models:\n\ta: 1\n", 2, None, "not valid YAML"),
    ("models:\n  a: *nobody\n", 2, None, "not valid YAML"),
    ("models:\n  a: {}\n---\nmodels: {}\n", 3, None, "not valid YAML"),
    ("models:\n  a: \x01\n", 2, None, "not valid YAML"),
    ("[" * 5000, None, None, "nested too deeply"),
    ("", None, None, "empty"),
    ("# only a comment\n", None, None, "empty"),
]


@pytest.mark.parametrize(("text", "line", "key", "words"), MISTAKES)
def test_a_mistake_is_named_by_file_line_and_key(
    tmp_path: Path, text: str, line: int | None, key: str | None, words: str
) -> None:
    error = refused(tmp_path, text)
    assert words in str(error)
    assert error.key == key
    if line is not None:
        assert error.line == line


def test_a_key_written_where_its_variables_name_belongs_is_not_repeated_in_the_error(tmp_path: Path) -> None:
    error = refused(tmp_path, MINIMAL + "sites:\n  local: {api_key_env: sk-verysecret}\n")
    assert error.line == 4
    assert "verysecret" not in str(error)


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        load_catalogue(tmp_path / "nowhere.yaml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_catalogue(tmp_path)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_bytes(b"models:\n  a: \xff\xfe\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_catalogue(path)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_bytes(b"\xef\xbb\xbfmodels:\r\n  a: {}\r\n")
    assert list(load_catalogue(path).models) == ["a"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.integers(0, 2000),
    length=st.integers(0, 40),
    garbage=st.text(alphabet="[]{}:,-&*!|>'\"%@`# \n\t\0a1é", max_size=8),
)
def test_a_damaged_file_is_read_or_refused_but_never_crashes(
    tmp_path: Path, start: int, length: int, garbage: str
) -> None:
    whole = (ROOT / "models.yaml").read_text("utf-8")
    start %= len(whole)
    with suppress(ConfigError):
        load_catalogue(write(tmp_path, whole[:start] + garbage + whole[start + length :]))


def test_a_trace_lies_beside_the_file_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(
        MINIMAL + "sites:\n  local: {zone: DE, intensity_trace: grid/2023.csv, intensity_kind: marginal,"
        " intensity_fallback_g_per_kwh: 385}\n"
    )
    site = load_catalogue(file).sites["local"]
    assert site.intensity_trace == str(tmp_path / "grid/2023.csv")
    assert (site.intensity_kind, site.intensity_fallback_g_per_kwh) == ("marginal", 385.0)


@pytest.mark.parametrize(
    ("line", "mode"), [("", "auto"), ("cascades: auto\n", "auto"), ("cascades: on\n", "on"), ("cascades: off\n", "off")]
)
def test_cascades_are_decided_by_what_pays_unless_switched(tmp_path: Path, line: str, mode: str) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(MINIMAL + line)
    assert load_catalogue(file).cascades == mode


def test_a_file_that_states_no_confidence_keeps_a_margin(tmp_path: Path) -> None:
    assert load_catalogue(write(tmp_path, MINIMAL)).confidence == 0.9
    assert load_catalogue(write(tmp_path, MINIMAL + "confidence: .5\n")).confidence == 0.5
