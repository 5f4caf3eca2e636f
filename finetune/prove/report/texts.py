"""All texts of the HTML report, in English and Chinese."""

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts of one language, with placeholders for `str.format`."""

    language: str
    title: str
    untested: str
    """Shown for a run that was not evaluated."""
    good: str
    kept_apart: str
    given_away: str
    differences: str
    course: str
    loss: str
    train: str
    held_out: str
    learning_rate: str
    speed: str
    step: str
    better: str
    points: str
    interval: str
    facts: Mapping[str, str]
    """Labels of `page.facts`, by key."""
    ends: Mapping[str, str]
    """Texts on why a training ended, by the run's reason."""
    columns: tuple[str, ...]
    entities: tuple[str, ...]
    earlier: str
    """Name of an earlier dataset."""
    since: str
    """Follows a difference from the adapter that the training started from."""
    deleted: str
    measures: Mapping[str, str]
    """Names by the measure's key; other measures keep their own names."""
    verdicts: Mapping[str, str]
    reasons: Mapping[str, str]
    """Objections to using an adapter, by the key in `objections`."""


ENGLISH = Texts(
    language="en",
    title="{run}: {model} retrained",
    untested="Not compared with its base yet. Run `finetune eval {run}`.",
    good="No objections to using it.",
    kept_apart="Tested on {examples:,} of {of:,} held-out examples; near-duplicates count once.",
    given_away="Leaked: {leaked} of {probes} probes for personal data and planted secrets ({canaries} planted).",
    differences="Base and retrained, with 95 % intervals",
    course="Training curves",
    loss="loss (nats per token)",
    train="training",
    held_out="held out",
    learning_rate="learning rate",
    speed="tokens per second",
    step="step",
    better="%, better →",
    points="points",
    interval="{low} to {high}",
    facts={
        "model": "model",
        "dataset": "dataset",
        "method": "method",
        "steps": "steps",
        "time": "time",
        "best": "best held-out loss",
        "start": "started from",
        "base": "base, SHA-256",
        "adapter": "adapter",
        "versions": "made with",
    },
    ends={
        "finished": "{steps:,} of {planned:,}",
        "early": "{steps:,} of {planned:,}, stopped early: the loss no longer fell",
        "budget": "{steps:,} of {planned:,}, out of time",
        "stopped": "{steps:,} of {planned:,}, stopped",
    },
    columns=("measure", "base", "retrained", "difference (95 %)", "examples", "verdict"),
    entities=("entity", "precision", "recall", "F1", "number"),
    earlier="{name}, learned before",
    since="since {since}",
    deleted="Deleted, so it can't be measured: {names}.",
    measures={},
    verdicts={
        "better": "better",
        "worse": "worse",
        "unclear": "not shown",
        "too few": "too few conversations",
        "kept": "kept",
    },
    reasons={
        "nothing": "Nothing could be measured on the test part.",
        "unclear": "It is not shown to be better: {name} changed by {low:+.1%} to {high:+.1%}.",
        "taught": "Only {right} of {taught} corrections are given when asked the same way.",
        "few": "The test part has {groups} conversations, too few to show a difference. Train on more.",
        "entities": "It tags entities and can't reply: use `finetune tag`.",
        "unmeasured": "Forgetting was not measured.",
        "forgets": "It forgets: perplexity of general text went up by {difference:.1%}, more than {limit:.1%}.",
        "loses": "It lost earlier skills: the test of {name} got worse by {worse:.1%} since {since}, more than "
        "{limit:.1%}.",
        "unasked": "It started from {start}, which can't be measured for comparison: {trouble}",
        "votes": "You preferred the base in blind votes: the adapter won {adapted:.0%} of {items}.",
        "leaks": "It leaks training data: {leaked} of {probes} probes.",
    },
)
CHINESE = Texts(
    language="zh",
    title="{run}：{model} 再训练",
    untested="尚未与基础模型比较。运行 `finetune eval {run}` 即可比较。",
    good="没有理由反对使用它。",
    kept_apart="测试了未参加训练的 {of:,} 个样本中的 {examples:,} 个；近似重复的只算一次。",
    given_away="泄露：对个人信息和植入密语的 {probes} 次探测中有 {leaked} 次（植入 {canaries} 条）。",
    differences="基础模型与再训练模型，95 % 区间",
    course="训练过程",
    loss="损失（每词元 nat）",
    train="训练",
    held_out="验证",
    learning_rate="学习率",
    speed="每秒词元数",
    step="步",
    better="%，更好 →",
    points="个百分点",
    interval="{low} 至 {high}",
    facts={
        "model": "模型",
        "dataset": "数据集",
        "method": "方法",
        "steps": "步数",
        "time": "用时",
        "best": "最低验证损失",
        "start": "起点",
        "base": "基础模型 SHA-256",
        "adapter": "适配器",
        "versions": "所用软件",
    },
    ends={
        "finished": "{steps:,} / {planned:,}",
        "early": "{steps:,} / {planned:,}，提前停止：损失不再下降",
        "budget": "{steps:,} / {planned:,}，时间用完",
        "stopped": "{steps:,} / {planned:,}，已停止",
    },
    columns=("指标", "基础", "再训练", "差异（95 %）", "样本", "结论"),
    entities=("实体", "精确率", "召回率", "F1", "数量"),
    earlier="{name}（以前学过）",
    since="自 {since} 以来",
    deleted="已删除，无法再测：{names}。",
    measures={
        "perplexity": "困惑度",
        "likelier": "更偏好你的回复",
        "forgetting": "通用文本",
        "votes": "你的偏好",
        "accuracy": "准确率",
        "preference": "更偏好所选回复",
        "thumbs": "按评价变化",
        "entities": "实体 F1",
    },
    verdicts={
        "better": "更好",
        "worse": "更差",
        "unclear": "未显示差异",
        "too few": "对话太少",
        "kept": "保持",
    },
    reasons={
        "nothing": "测试部分没有可测量的内容。",
        "unclear": "未显示更好：{name} 的变化为 {low:+.1%} 到 {high:+.1%}。",
        "taught": "以同样方式提问时，{taught} 条更正中只有 {right} 条被说出。",
        "few": "测试部分只有 {groups} 个对话，太少，无法显示差异。请用更多对话训练。",
        "entities": "它查找实体，不能回复：请用 `finetune tag`。",
        "unmeasured": "没有测量它遗忘了什么。",
        "forgets": "它有遗忘：通用文本的困惑度上升 {difference:.1%}，超过 {limit:.1%}。",
        "loses": "它丢失了以前学到的内容：在 {name} 的测试上，自 {since} 以来变差 {worse:.1%}，超过 {limit:.1%}。",
        "unasked": "它以 {start} 为起点，但无法与之比较：{trouble}",
        "votes": "盲评中你更喜欢基础模型：适配器在 {items} 次中赢得 {adapted:.0%}。",
        "leaks": "它泄露了不应泄露的内容：{probes} 次探测中有 {leaked} 次。",
    },
)
LANGUAGES = {one.language: one for one in (ENGLISH, CHINESE)}


def of_environment() -> Texts:
    """Chinese in a Chinese locale, else English."""
    locale = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
    return CHINESE if locale.startswith("zh") else ENGLISH
