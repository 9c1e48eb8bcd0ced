"""What a receiver has delivered: one maildir for all recipients, told apart by a field on top."""
import glob
import os

from zones import wait


class Maildir:
    def __init__(self, folder, field):
        self.folder, self.field = folder, field.encode()

    def messages(self, recipient):
        """Octets with CRLF restored; each begins with the fields that the receiver has added."""
        found = []
        for path in sorted(glob.glob(self.folder + "/new/*"), key=os.path.getmtime):
            with open(path, "rb") as f:
                top = f.read(4096)
                if self.field + b": " + recipient.encode() + b"\n" in top:
                    found.append((top + f.read()).replace(b"\n", b"\r\n"))
        return found

    def wait_for(self, recipient, count=1, seconds=10):
        wait(lambda: len(self.messages(recipient)) >= count, seconds, "delivery to " + recipient)
        return self.messages(recipient)
