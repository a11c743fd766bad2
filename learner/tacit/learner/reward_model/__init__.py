"""The reward model: what a suggestion will be worth to its developer, learnt from behaviour, before anybody has seen it.

`labelled` (from records to examples), `scalar_head` (the base with LoRA and one output), `boosting` (small trees on the cheap
features, alone or distilled from the head), `calibration`, `judging` (by session, with intervals). Only the head needs torch.
"""
