"""The box that is not there: image build, QEMU, snapshots. Known only to harness.targets."""
