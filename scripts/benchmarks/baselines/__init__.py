"""The servers that the emulator is compared with: each module serves on the port that is its first argument."""
