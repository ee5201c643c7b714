"""What a pipeline of Transformers was made with is served, too: settings, tokenizer, dtypes, shared weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vtsserving
from support.pipelines import bert, bert_tokenizer, generator
from support.sdk import save_copy
from vtsserving._saving.framework import load_for_serving
from vtsserving._saving.pipeline_settings import FILE
from vtsserving.exceptions import ModelLoadFailed, SerializationError

pytestmark = [
    pytest.mark.frameworks("transformers"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

LONG = "very good " * 20
PLACE = "anna lives in rome"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))


def classifier(**settings: Any) -> Callable[[Path], Any]:
    return lambda folder: bert("SequenceClassification", folder, **settings)


def tagger(**settings: Any) -> Callable[[Path], Any]:
    return lambda folder: bert("TokenClassification", folder, **settings)


def gap_filler(**settings: Any) -> Callable[[Path], Any]:
    return lambda folder: bert("MaskedLM", folder, **settings)


def writer(**settings: Any) -> Callable[[Path], Any]:
    return lambda folder: generator(folder, **{"max_new_tokens": 4, "do_sample": False, **settings})


def generation_config(**settings: Any) -> Any:
    import transformers

    return transformers.GenerationConfig(**settings)


GAP = "anna lives [MASK] rome"
CASES: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any], str]] = {
    "all labels": (classifier(top_k=None), classifier(), "bad"),
    "two labels": (classifier(top_k=2), classifier(), "bad"),
    "no function": (classifier(function_to_apply="none"), classifier(), "bad"),
    "sigmoid": (classifier(function_to_apply="sigmoid", top_k=None), classifier(top_k=None), "bad"),
    "shorter": (classifier(truncation=True, max_length=4, top_k=None), classifier(top_k=None), "very very very bad"),
    "entities": (tagger(aggregation_strategy="simple"), tagger(), PLACE),
    "largest entities": (tagger(aggregation_strategy="max"), tagger(), PLACE),
    "labels left out": (tagger(ignore_labels=["LABEL_1"]), tagger(ignore_labels=["LABEL_0"]), PLACE),
    "one gap": (gap_filler(top_k=1), gap_filler(), GAP),
    "words for the gap": (gap_filler(targets=["good", "bad"]), gap_filler(), GAP),
    "new tokens": (writer(max_new_tokens=7), writer(), PLACE),
    "only the new text": (writer(return_full_text=False), writer(), PLACE),
    "a configuration": (
        lambda folder: generator(
            folder, generation_config=generation_config(max_new_tokens=9, do_sample=False, pad_token_id=0)
        ),
        writer(),
        PLACE,
    ),
    "bad words": (
        writer(bad_words_ids=[[word] for word in range(4, 10)], num_beams=2),
        writer(),
        PLACE,
    ),
}  # fmt: skip
"""A pipeline with a setting, the same without, and a text on which they differ."""


@pytest.mark.parametrize(("build", "without", "text"), CASES.values(), ids=CASES.keys())
def test_a_setting_is_served(build: Any, without: Any, text: str, tmp_path: Path) -> None:
    pipeline = build(tmp_path)
    expected = pipeline(text)
    assert expected != without(tmp_path)(text), "the setting makes no difference"
    saved = vtsserving.transformers.save_model("set", pipeline)
    assert saved.info.runs_code is False
    served = load_for_serving(saved.path)
    assert served(text) == expected
    assert served([text, "bad [MASK]"]) == pipeline([text, "bad [MASK]"])


def test_no_bars_are_shown_and_the_users_own_go_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.utils import logging

    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    pipeline = bert("SequenceClassification", tmp_path)
    logging.enable_progress_bar()
    capfd.readouterr()
    saved = vtsserving.transformers.save_model("quiet", pipeline, input_example=["good", "very bad"])
    vtsserving.transformers.load_model(saved.tag)
    assert "it/s" not in "".join(capfd.readouterr())
    assert logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    vtsserving.transformers.load_model(saved.tag)
    assert not logging.is_progress_bar_enabled()


def test_a_text_that_is_too_long_is_cut_as_it_was(tmp_path: Path) -> None:
    pipeline = bert("SequenceClassification", tmp_path, truncation=True)
    served = load_for_serving(vtsserving.transformers.save_model("cut", pipeline).path)
    assert served(LONG) == pipeline(LONG)


def test_sizes_of_batches_are_kept(tmp_path: Path) -> None:
    pipeline = bert("SequenceClassification", tmp_path, batch_size=3)
    loaded = vtsserving.transformers.load_model(vtsserving.transformers.save_model("sized", pipeline).tag)
    assert vars(loaded)["_batch_size"] == 3
    with pytest.raises(ValueError, match="pad_token"):
        loaded.tokenizer.pad_token = None
        loaded(["good", "very bad"])


def test_what_the_caller_of_load_model_chooses_wins(tmp_path: Path) -> None:
    pipeline = bert("SequenceClassification", tmp_path, top_k=None, function_to_apply="none")
    saved = vtsserving.transformers.save_model("chosen", pipeline)
    loaded = vtsserving.transformers.load_model(saved.tag, top_k=2, batch_size=5)
    assert loaded("bad") == [pipeline("bad")[0][:2]]
    assert vars(loaded)["_batch_size"] == 5
    written = vtsserving.transformers.save_model("written", generator(tmp_path, max_new_tokens=9))
    shorter = vtsserving.transformers.load_model(written.tag, max_new_tokens=2, do_sample=False)
    assert len(shorter("bad")[0]["generated_text"].split()) <= 3


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_tokenizer_that_was_changed_after_it_was_made_stays_changed(side: str, tmp_path: Path) -> None:
    tokenizer = bert_tokenizer(tmp_path)
    tokenizer.padding_side = tokenizer.truncation_side = side
    tokenizer.model_max_length = 7
    pipeline = bert("SequenceClassification", tmp_path, tokenizer=tokenizer, truncation=True, top_k=None)
    served = load_for_serving(vtsserving.transformers.save_model("sided", pipeline).path)
    assert (served.tokenizer.padding_side, served.tokenizer.truncation_side) == (side, side)
    text = "good bad very anna lives in rome good"
    assert served(text) == pipeline(text)
    assert (
        served.tokenizer(text, truncation=True)["input_ids"] == tokenizer(text, truncation=True)["input_ids"]
    )


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16", "float64"])
def test_weights_come_back_in_their_dtype(name: str, tmp_path: Path) -> None:
    import torch

    pipeline = bert("SequenceClassification", tmp_path, top_k=None)
    pipeline.model.to(getattr(torch, name))
    expected = pipeline("very bad")
    loaded = load_for_serving(vtsserving.transformers.save_model("typed", pipeline).path)
    assert {one.dtype for one in loaded.model.parameters()} == {getattr(torch, name)}
    assert loaded("very bad") == expected


def test_weights_of_several_dtypes_come_back_bit_for_bit(tmp_path: Path) -> None:
    import torch

    pipeline = bert("SequenceClassification", tmp_path)
    pipeline.model.to(torch.bfloat16)
    pipeline.model.classifier.float()
    pipeline.model.bert.embeddings.LayerNorm.to(torch.float16)
    loaded = load_for_serving(vtsserving.transformers.save_model("mixed", pipeline).path)
    before, after = pipeline.model.state_dict(), loaded.model.state_dict()
    assert before.keys() == after.keys()
    for name, weight in before.items():
        assert after[name].dtype == weight.dtype
        assert torch.equal(after[name], weight), name


def test_embeddings_that_are_one_tensor_stay_one(tmp_path: Path) -> None:
    pipeline = generator(tmp_path)
    saved = vtsserving.transformers.save_model("tied", pipeline)
    model = load_for_serving(saved.path).model
    assert model.lm_head.weight.data_ptr() == model.transformer.wte.weight.data_ptr()


class Stopper:
    """Stops at once; a program, and so not data."""

    def __call__(self, *_: Any, **__: Any) -> bool:
        return True


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("prefix_allowed_tokens_fn", lambda *_: [5]),
        ("stopping_criteria", [Stopper()]),
        ("assistant_model", None),
    ],
    ids=["function", "list of programs", "another model"],
)
def test_a_setting_that_is_not_data_is_refused_with_the_way_out(
    setting: str, value: Any, tmp_path: Path
) -> None:
    if setting == "assistant_model":
        value = generator(tmp_path).model
    pipeline = generator(tmp_path, **{setting: value})
    with pytest.raises(SerializationError, match=rf"{setting}.*picklable_model"):
        vtsserving.transformers.save_model("odd", pipeline)
    assert vtsserving.models.list() == []


def test_weights_that_share_memory_against_their_configuration_are_refused(tmp_path: Path) -> None:
    pipeline = bert("SequenceClassification", tmp_path)
    layer = pipeline.model.bert.encoder.layer[0]
    layer.attention.self.query.weight = layer.attention.self.key.weight
    with pytest.raises(SerializationError, match=r"shared tensors.*picklable_model"):
        vtsserving.transformers.save_model("shared", pipeline)


def test_a_pipeline_that_was_saved_without_settings_is_loaded_as_before(tmp_path: Path) -> None:
    saved = vtsserving.transformers.save_model("new", bert("SequenceClassification", tmp_path, top_k=None))
    (saved.path / "pipeline" / FILE).unlink()
    assert len(load_for_serving(save_copy(saved, {}).path)("bad")) == 1


@pytest.mark.parametrize(
    "field",
    [
        {"$enum": ["os", "system", "x"]},
        {"$enum": ["transformers.pipelines", "pipeline", "x"]},
        {"$part": "__class__"},
        {"$dtype": "load"},
    ],
    ids=str,
)
def test_a_file_can_name_nothing_but_what_settings_are_made_of(field: Any, tmp_path: Path) -> None:
    from vtsserving._wire.values import decode_value, encode_value

    saved = vtsserving.transformers.save_model("new", bert("SequenceClassification", tmp_path))
    path = saved.path / "pipeline" / FILE
    settings = decode_value(path.read_bytes())
    settings["fields"]["_preprocess_params"] = {"x": field}
    path.write_bytes(encode_value(settings))
    with pytest.raises((ModelLoadFailed, vtsserving.exceptions.IntegrityError), match=FILE):
        load_for_serving(save_copy(saved, {}).path)


def test_a_tokenizer_without_a_longest_text_keeps_that(tmp_path: Path) -> None:
    # What Transformers gives a tokenizer that nobody told a length: no number of 64 bits.
    tokenizer = bert_tokenizer(tmp_path, model_max_length=None)
    assert tokenizer.model_max_length > 2**64
    pipeline = bert("SequenceClassification", tmp_path, tokenizer=tokenizer)
    served = load_for_serving(vtsserving.transformers.save_model("endless", pipeline).path)
    assert served.tokenizer.model_max_length == tokenizer.model_max_length
    assert served("very bad") == pipeline("very bad")
