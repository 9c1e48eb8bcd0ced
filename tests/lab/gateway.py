"""danelaw on the router, with its own rules and routing loaded as it prints them.

    with Gateway(lab, network, "tproxy", {"preserve_source": "yes"}, fail="open") as d:
        ...                                   # a Danelaw; the client's port 25 is its
        d.stop()                              # the rules stay
"""
from netlab import Here
from program import PROGRAM, Danelaw

CLIENTS = "192.0.2.0/24 2001:db8:c::/64"


class Gateway(Danelaw):
    def __init__(self, lab, network, mode="redirect", listener=None, fail="closed", **others):
        taking = {"listen": "0.0.0.0:2526 [::]:2526", "intercept": mode, "clients": CLIENTS}
        super().__init__(lab, {"listener smarthost": {"listen": "127.0.0.1:2525"},
                               "listener transparent": {**taking, **(listener or {})}, **others},
                         host=network.router)
        self.fail = fail

    def __enter__(self):
        self.host.run("nft", "-f", "-", input=self.printed("--fail", self.fail))
        self.host.run("sh", input=self.printed("--routing"))
        return super().__enter__()

    def __exit__(self, *exc):
        try:
            super().__exit__(*exc)
        finally:
            self.host.run("sh", "-s", "undo", input=self.printed("--routing"))
            self.host.run("nft", "delete", "table", "inet", "danelaw")

    def printed(self, *options):
        return Here().run(PROGRAM, "nft", "-c", self.conf, *options)
