"""The device suite on emulators that are presented as benches: ``python -m tests.bench``."""
