package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	commonv1 "vigie.example/client/gen/vigie/common/v1"
	ingestv1 "vigie.example/client/gen/vigie/ingest/v1"
	recordingv1 "vigie.example/client/gen/vigie/recording/v1"
	registryv1 "vigie.example/client/gen/vigie/registry/v1"
)

// Calls with one answer end after this time; streams have no deadline.
const unarySeconds = 20 * time.Second

// bearer sends the token with every call, and never without TLS.
type bearer string

func (token bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(token)}, nil
}

func (bearer) RequireTransportSecurity() bool { return true }

// Client is one connection to Vigie, and the identity it is used with.
type Client struct {
	connection *grpc.ClientConn
	cameras    registryv1.CameraServiceClient
	streams    ingestv1.StreamServiceClient
	live       ingestv1.LiveServiceClient
	recording  recordingv1.RecordingServiceClient
	playback   recordingv1.PlaybackServiceClient
}

// Dial prepares a connection to address ("host:port"). caFile names the authority to trust (PEM);
// empty: those of the machine. All services are behind the one address.
func Dial(address, token, caFile string) (*Client, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", caFile)
		}
	}
	connection, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(credentials.NewTLS(trust)),
		grpc.WithPerRPCCredentials(bearer(token)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: time.Minute, Timeout: 10 * time.Second}),
	)
	if err != nil {
		return nil, err
	}
	return &Client{
		connection: connection,
		cameras:    registryv1.NewCameraServiceClient(connection),
		streams:    ingestv1.NewStreamServiceClient(connection),
		live:       ingestv1.NewLiveServiceClient(connection),
		recording:  recordingv1.NewRecordingServiceClient(connection),
		playback:   recordingv1.NewPlaybackServiceClient(connection),
	}, nil
}

// Close ends the connection.
func (client *Client) Close() error { return client.connection.Close() }

// Cameras gives every camera the caller may see, page by page.
func (client *Client) Cameras(ctx context.Context, each func(*registryv1.Camera) error) error {
	request := &registryv1.ListCamerasRequest{PageSize: 100}
	for {
		short, cancel := context.WithTimeout(ctx, unarySeconds)
		answer, err := client.cameras.ListCameras(short, request)
		cancel()
		if err != nil {
			return err
		}
		for _, camera := range answer.Cameras {
			if err := each(camera); err != nil {
				return err
			}
		}
		if answer.NextPageToken == "" {
			return nil
		}
		request.PageToken = answer.NextPageToken
	}
}

// WatchStreams gives the status of every stream as it is, a checkpoint (nil), and then changes,
// until each returns io.EOF or ctx ends. A connection that breaks is resumed.
func (client *Client) WatchStreams(
	ctx context.Context, cameras []string, each func(*ingestv1.Stream) error,
) error {
	request := &ingestv1.WatchStreamsRequest{Cameras: cameras}
	return resumed(ctx, func(ctx context.Context) error {
		watch, err := client.streams.WatchStreams(ctx, request)
		for err == nil {
			var answer *ingestv1.WatchStreamsResponse
			if answer, err = watch.Recv(); err != nil {
				break
			}
			if answer.Stream != nil {
				err = each(answer.Stream)
			}
			if err == nil && answer.IsCheckpoint {
				err = each(nil)
			}
			if answer.ResumeToken != "" {
				request.ResumeToken = answer.ResumeToken
			}
		}
		return err
	})
}

// Timeline gives what is stored and what is missing of a camera in a window, and why.
func (client *Client) Timeline(
	ctx context.Context, camera string, window *commonv1.TimeWindow,
	each func(*recordingv1.TimelineEntry) error,
) error {
	request := &recordingv1.GetTimelineRequest{Cameras: []string{camera}, Window: window}
	for {
		short, cancel := context.WithTimeout(ctx, unarySeconds)
		answer, err := client.recording.GetTimeline(short, request)
		cancel()
		if err != nil {
			return err
		}
		for _, timeline := range answer.Timelines {
			for _, entry := range timeline.Entries {
				if err := each(entry); err != nil {
					return err
				}
			}
		}
		if answer.NextPageToken == "" {
			return nil
		}
		request.PageToken = answer.NextPageToken
	}
}

// resumed calls once again while the connection breaks. What is read as fast as the caller wants
// to must not be limited by a deadline, so it is ended by its context. The server ends a stream
// when the caller's rights or token end, and that is not tried again.
func resumed(ctx context.Context, once func(context.Context) error) error {
	const attempts = 5
	for attempt := 1; ; attempt++ {
		inner, cancel := context.WithCancel(ctx)
		err := once(inner)
		cancel() // also ends the call where the caller has seen enough
		if errors.Is(err, io.EOF) {
			return nil
		}
		if status.Code(err) != codes.Unavailable || attempt == attempts {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(attempt) * 500 * time.Millisecond):
		}
	}
}

// Explain tells the status and the stable reason of a failed call: what a program decides by.
func Explain(err error) string {
	failed, ok := status.FromError(err)
	if !ok {
		return err.Error()
	}
	reason := ""
	for _, detail := range failed.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Domain == "vigie" {
			reason = " " + info.Reason
		}
	}
	return fmt.Sprintf("%s%s: %s", failed.Code(), reason, failed.Message())
}

// cameraName makes the resource name of a camera from its identifier.
func cameraName(camera string) string {
	return "cameras/" + strings.TrimPrefix(camera, "cameras/")
}

// windowOf reads two instants (RFC 3339); the second is exclusive.
func windowOf(from, to string) (*commonv1.TimeWindow, error) {
	start, err := time.Parse(time.RFC3339Nano, from)
	if err != nil {
		return nil, err
	}
	end, err := time.Parse(time.RFC3339Nano, to)
	if err != nil {
		return nil, err
	}
	return &commonv1.TimeWindow{StartTime: timestamppb.New(start), EndTime: timestamppb.New(end)}, nil
}
