package main

import (
	"context"
	"errors"
	"net"
	"os"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"
)

// serve runs the server of the official interop tests, with what grpc-go has by default: it allows a ping every 5
// minutes while a call is open and none otherwise. The metadata of a call asks for more:
//
//	x-hold        answers never
//	x-compress    compresses the responses
//	x-error-id    adds an ErrorInfo to the status
//	x-tag, x-json adds an error that a method of ours declares, as ours encodes it
//
// Each call is told the client's end of the connection, in x-peer.
func serve(args []string) error {
	if len(args) != 2 {
		return errors.New(usage)
	}
	if err := os.Chdir(args[1]); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	server := grpc.NewServer(
		grpc.UnaryInterceptor(func(
			ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler,
		) (any, error) {
			if err := before(ctx); err != nil {
				return nil, err
			}
			response, err := next(ctx, request)
			return response, after(ctx, err)
		}),
		grpc.StreamInterceptor(func(
			service any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler,
		) error {
			ctx := stream.Context()
			if err := before(ctx); err != nil {
				return err
			}
			return after(ctx, next(service, stream))
		}),
	)
	testgrpc.RegisterTestServiceServer(server, interop.NewTestServer())
	return server.Serve(listener)
}

func first(ctx context.Context, name string) string {
	for _, value := range metadata.ValueFromIncomingContext(ctx, name) {
		return value
	}
	return ""
}

func before(ctx context.Context) error {
	if from, ok := peer.FromContext(ctx); ok {
		grpc.SetHeader(ctx, metadata.Pairs("x-peer", from.Addr.String()))
	}
	if first(ctx, "x-compress") != "" {
		if err := grpc.SetSendCompressor(ctx, gzip.Name); err != nil {
			return err
		}
	}
	if first(ctx, "x-hold") != "" {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	return nil
}

// after adds the details that were asked for to the status of a call that failed.
func after(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	given := status.Convert(err).Proto()
	if id := first(ctx, "x-error-id"); id != "" {
		info, err := anypb.New(&errdetails.ErrorInfo{
			Reason: "INTERNAL", Domain: "peer", Metadata: map[string]string{"error_id": id},
		})
		if err != nil {
			return err
		}
		given.Details = append(given.Details, info)
	}
	if tag := first(ctx, "x-tag"); tag != "" {
		given.Details = append(given.Details, domainError(tag, first(ctx, "x-json")))
	}
	return status.ErrorProto(given)
}

// domainError is an xdooria.errors.v1.DomainError.
func domainError(tag, json string) *anypb.Any {
	value := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), tag)
	value = protowire.AppendString(protowire.AppendTag(value, 2, protowire.BytesType), json)
	return &anypb.Any{TypeUrl: "type.googleapis.com/xdooria.errors.v1.DomainError", Value: value}
}
