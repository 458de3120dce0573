"""What the emulator is compared with: each module serves on the port given as its first argument."""
