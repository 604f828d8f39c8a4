// Command peer is gRPC as another implementation speaks it, grpc-go: a client, a server and a client by reflection. The
// tests of the folder above run it against ours, and ours against it.
package main

import (
	"fmt"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const usage = `usage:
  peer interop <case> <address>             a case of the official interop client; exits with 0 when it passes
  peer call [flags] <kind> <address>        a call of grpc.testing.TestService; prints what came of it as JSON
  peer serve <address> <folder>             serves grpc.testing.TestService, working in the folder, until it is killed
  peer curl <address> list [service]        what grpcurl does, by reflection
  peer curl <address> describe <symbol>
  peer curl <address> <method> [requests]   the requests and responses are JSON`

func main() {
	commands := map[string]func([]string) error{"interop": conform, "call": call, "serve": serve, "curl": curl}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// dial makes a connection in plain text, with what a Go program has by default.
func dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
}
