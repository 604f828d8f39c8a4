package main

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

type check = func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption)

// The cases that need neither credentials nor a load balancer of the client's own. Each ends the process when it fails.
var checks = map[string]check{
	"empty_unary":                 interop.DoEmptyUnaryCall,
	"large_unary":                 interop.DoLargeUnaryCall,
	"client_streaming":            interop.DoClientStreaming,
	"server_streaming":            interop.DoServerStreaming,
	"ping_pong":                   interop.DoPingPong,
	"empty_stream":                interop.DoEmptyStream,
	"timeout_on_sleeping_server":  interop.DoTimeoutOnSleepingServer,
	"cancel_after_begin":          interop.DoCancelAfterBegin,
	"cancel_after_first_response": interop.DoCancelAfterFirstResponse,
	"custom_metadata":             interop.DoCustomMetadata,
	"status_code_and_message":     interop.DoStatusCodeAndMessage,
	"special_status_message":      interop.DoSpecialStatusMessage,
}

func conform(args []string) error {
	if len(args) != 2 {
		return errors.New(usage)
	}
	conn, err := dial(args[1])
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, name := context.Background(), args[0]
	switch {
	case name == "unimplemented_method":
		interop.DoUnimplementedMethod(ctx, conn)
	case name == "unimplemented_service":
		interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(conn))
	case checks[name] != nil:
		checks[name](ctx, testgrpc.NewTestServiceClient(conn))
	default:
		return errors.New("no such case: " + name)
	}
	return nil
}
