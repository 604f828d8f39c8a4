package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// detail is one of a status: what a Go program finds when it looks for ErrorInfo, by the types that it knows.
type detail struct {
	Reason   string            `json:"reason"`
	Domain   string            `json:"domain"`
	Metadata map[string]string `json:"metadata"`
}

// report is what came of a call.
type report struct {
	Code    uint32 `json:"code"`
	Message string `json:"message"`
	// Those that are an ErrorInfo, and how many the status has in all.
	Infos   []detail `json:"infos"`
	Details int      `json:"details"`
	// The sizes of the payloads received, or the one sum that a stream of requests is answered with.
	Sizes   []int32     `json:"sizes"`
	Header  metadata.MD `json:"header"`
	Trailer metadata.MD `json:"trailer"`
}

// plan is what a call consists of.
type plan struct {
	sizes  []int32
	status *testpb.EchoStatus
	hold   bool
}

func payload(size int32) *testpb.Payload { return &testpb.Payload{Body: make([]byte, size)} }

func call(args []string) error {
	flags := flag.NewFlagSet("call", flag.ContinueOnError)
	sizes := flags.String("sizes", "", "sizes of the payloads, by commas")
	code := flags.Int("code", 0, "the status to ask for, after the payloads")
	message := flags.String("message", "", "its message")
	compress := flags.Bool("gzip", false, "compress the requests")
	deadline := flags.Duration("deadline", time.Minute, "of the call")
	cancels := flags.Bool("cancel", false, "cancel when the standard input ends")
	hold := flags.Bool("hold", false, "leave the requests open")
	sent := flags.String("metadata", "", "name=value, by commas")
	authority := flags.String("ca", "", "speak TLS to a server that this file vouches for")
	identity := flags.String("identity", "", "the files of our certificate and its key, by a comma")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 2 {
		return errors.New(usage)
	}
	secured, err := credentialsOf(*authority, split(*identity))
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(flags.Arg(1), grpc.WithTransportCredentials(secured))
	if err != nil {
		return err
	}
	defer conn.Close()

	ctx, cancel := context.WithTimeout(context.Background(), *deadline)
	defer cancel()
	for _, entry := range split(*sent) {
		name, value, _ := strings.Cut(entry, "=")
		ctx = metadata.AppendToOutgoingContext(ctx, name, value)
	}
	if *cancels {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}
	it := plan{hold: *hold}
	for _, text := range split(*sizes) {
		size, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		it.sizes = append(it.sizes, int32(size))
	}
	if *code != 0 {
		it.status = &testpb.EchoStatus{Code: int32(*code), Message: *message}
	}

	var result report
	options := []grpc.CallOption{grpc.Header(&result.Header), grpc.Trailer(&result.Trailer)}
	if *compress {
		options = append(options, grpc.UseCompressor(gzip.Name))
	}
	client := testgrpc.NewTestServiceClient(conn)
	switch flags.Arg(0) {
	case "unary":
		result.Sizes, err = it.unary(ctx, client, options)
	case "output":
		result.Sizes, err = it.output(ctx, client, options)
	case "input":
		result.Sizes, err = it.input(ctx, client, options)
	case "duplex":
		result.Sizes, err = it.duplex(ctx, client, options)
	default:
		return errors.New(usage)
	}
	result.take(status.Convert(err))
	return json.NewEncoder(os.Stdout).Encode(result)
}

func credentialsOf(authority string, identity []string) (credentials.TransportCredentials, error) {
	if authority == "" {
		return insecure.NewCredentials(), nil
	}
	pem, err := os.ReadFile(authority)
	if err != nil {
		return nil, err
	}
	config := tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(pem)
	if len(identity) == 2 {
		ours, err := tls.LoadX509KeyPair(identity[0], identity[1])
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{ours}
	}
	return credentials.NewTLS(&config), nil
}

func split(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func (r *report) take(s *status.Status) {
	r.Code, r.Message, r.Infos = uint32(s.Code()), s.Message(), []detail{}
	details := s.Details()
	r.Details = len(details)
	for _, one := range details {
		if info, ok := one.(*errdetails.ErrorInfo); ok {
			r.Infos = append(r.Infos, detail{info.GetReason(), info.GetDomain(), info.GetMetadata()})
		}
	}
}

func (p plan) unary(ctx context.Context, client testgrpc.TestServiceClient, options []grpc.CallOption) ([]int32, error) {
	request := &testpb.SimpleRequest{ResponseStatus: p.status}
	for _, size := range p.sizes {
		request.ResponseSize, request.Payload = size, payload(size)
	}
	response, err := client.UnaryCall(ctx, request, options...)
	if err != nil {
		return []int32{}, err
	}
	return []int32{int32(len(response.GetPayload().GetBody()))}, nil
}

type responses interface {
	Recv() (*testpb.StreamingOutputCallResponse, error)
}

// collect reads to the end.
func collect(stream responses) ([]int32, error) {
	sizes := []int32{}
	for {
		response, err := stream.Recv()
		if err == io.EOF {
			return sizes, nil
		}
		if err != nil {
			return sizes, err
		}
		sizes = append(sizes, int32(len(response.GetPayload().GetBody())))
	}
}

func (p plan) output(ctx context.Context, client testgrpc.TestServiceClient, options []grpc.CallOption) ([]int32, error) {
	request := &testpb.StreamingOutputCallRequest{ResponseStatus: p.status}
	for _, size := range p.sizes {
		request.ResponseParameters = append(request.ResponseParameters, &testpb.ResponseParameters{Size: size})
	}
	stream, err := client.StreamingOutputCall(ctx, request, options...)
	if err != nil {
		return []int32{}, err
	}
	return collect(stream)
}

func (p plan) input(ctx context.Context, client testgrpc.TestServiceClient, options []grpc.CallOption) ([]int32, error) {
	stream, err := client.StreamingInputCall(ctx, options...)
	if err != nil {
		return []int32{}, err
	}
	for _, size := range p.sizes {
		// An error here says only that the call has ended; the status comes below.
		if stream.Send(&testpb.StreamingInputCallRequest{Payload: payload(size)}) != nil {
			break
		}
	}
	var response testpb.StreamingInputCallResponse
	if !p.hold {
		stream.CloseSend()
	}
	if err := stream.RecvMsg(&response); err != nil {
		return []int32{}, err
	}
	return []int32{response.GetAggregatedPayloadSize()}, nil
}

// duplex asks for all responses at once, so that requests and responses pass each other.
func (p plan) duplex(ctx context.Context, client testgrpc.TestServiceClient, options []grpc.CallOption) ([]int32, error) {
	stream, err := client.FullDuplexCall(ctx, options...)
	if err != nil {
		return []int32{}, err
	}
	go func() {
		for _, size := range p.sizes {
			stream.Send(&testpb.StreamingOutputCallRequest{
				ResponseParameters: []*testpb.ResponseParameters{{Size: size}},
				Payload:            payload(size),
			})
		}
		if p.status != nil {
			stream.Send(&testpb.StreamingOutputCallRequest{ResponseStatus: p.status})
		}
		if !p.hold {
			stream.CloseSend()
		}
	}()
	return collect(stream)
}
