"""Clocks that jump, a disk that is slow or gives errors, a kernel of yesterday, and no memory for
OpenSSL, for a danelaw that is told so (preload.c)."""
import os
import struct
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


class Switches:
    """A library to preload into danelaw, and the numbers that it reads."""

    def __init__(self, folder):
        self.library, self.control = folder + "/preload.so", folder + "/control"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", self.library, HERE + "/preload.c"],
                       check=True)
        self.set()

    def set(self, wall=0, steady=0, fsync=0, no_mark=0, unreadable=0,
            allocations=0):
        """Seconds that the clocks are ahead; milliseconds that an fsync takes; SO_MARK is refused;
        the octet of messages of the spool from which on reading gives EIO; which of OpenSSL's
        allocations from now on fails."""
        with open(self.control, "r+b" if os.path.exists(self.control) else "wb") as f:
            f.write(struct.pack("=qqqqqq", wall, steady, fsync, no_mark, unreadable, allocations))

    @property
    def allocations(self):
        """How many are left until one fails."""
        with open(self.control, "rb") as f:
            return struct.unpack("=6q", f.read())[5]

    @property
    def env(self):
        return {"LD_PRELOAD": self.library, "LAB_CONTROL": self.control,
                "ASAN_OPTIONS": "verify_asan_link_order=0"}
