// etcd of a newer release than the one that Debian packages: its own module cannot be installed by name, since it
// replaces others.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
