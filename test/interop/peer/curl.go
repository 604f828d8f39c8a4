package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/fullstorydev/grpcurl"
	"github.com/jhump/protoreflect/grpcreflect"
	"google.golang.org/grpc/codes"
)

// curl does what the program grpcurl does, by its library: the program itself brings xDS, which takes as long to build
// as all the rest.
func curl(args []string) error {
	if len(args) < 2 {
		return errors.New(usage)
	}
	conn, err := dial(args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx := context.Background()
	reflection := grpcreflect.NewClientAuto(ctx, conn)
	defer reflection.Reset()
	source := grpcurl.DescriptorSourceFromServer(ctx, reflection)

	switch verb, rest := args[1], strings.Join(args[2:], " "); verb {
	case "list":
		return list(source, rest)
	case "describe":
		symbol, err := source.FindSymbol(rest)
		if err != nil {
			return err
		}
		text, err := grpcurl.GetDescriptorText(symbol, source)
		if err != nil {
			return err
		}
		fmt.Println(text)
		return nil
	default:
		requests, format, err := grpcurl.RequestParserAndFormatter(
			grpcurl.FormatJSON, source, strings.NewReader(rest), grpcurl.FormatOptions{},
		)
		if err != nil {
			return err
		}
		handler := &grpcurl.DefaultEventHandler{Out: os.Stdout, Formatter: format}
		if err := grpcurl.InvokeRPC(ctx, source, conn, verb, nil, handler, requests.Next); err != nil {
			return err
		}
		if handler.Status.Code() != codes.OK {
			grpcurl.PrintStatus(os.Stdout, handler.Status, format)
		}
		return nil
	}
}

func list(source grpcurl.DescriptorSource, service string) error {
	names, err := source.ListServices()
	if service != "" {
		names, err = grpcurl.ListMethods(source, service)
	}
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(names, "\n"))
	return nil
}
