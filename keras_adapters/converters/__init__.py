"""Pretrained weights from other projects' formats."""
