"""The nightly learner: what developers did with suggestions becomes a LoRA adapter, a gate judges it, the server serves it.

May touch: tacit.protocol, torch, transformers, peft, the files of TACIT_HOME. Must not touch: the server or its store;
everything it knows comes through `tacit.protocol.client`. Import the submodules directly; this package imports nothing.
"""
