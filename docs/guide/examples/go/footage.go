package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	commonv1 "vigie.example/client/gen/vigie/common/v1"
	ingestv1 "vigie.example/client/gen/vigie/ingest/v1"
	recordingv1 "vigie.example/client/gen/vigie/recording/v1"
)

// Run is one playable file that Play has written.
type Run struct {
	File      string
	Run       string
	Codec     string
	Fragments []Fragment
}

// Fragment is a key-frame interval, as it is stored.
type Fragment struct {
	StartUs, DurationUs int64
	SizeBytes           int
	SHA256              string
}

// Played is everything that Play was told.
type Played struct {
	Runs []*Run
	Gaps []*recordingv1.PlayGap
	End  *recordingv1.PlayEnd
}

// Play writes stored footage as it is stored: one playable MP4 file for each run, whole fragments
// only. A connection that breaks is resumed after the last whole fragment.
func (client *Client) Play(
	ctx context.Context, camera string, window *commonv1.TimeWindow, purpose *commonv1.Purpose,
	folder string,
) (*Played, error) {
	request := &recordingv1.PlayRequest{
		Camera: camera, StartTime: window.StartTime, EndTime: window.EndTime, Purpose: purpose,
	}
	played, fragment := &Played{}, []byte(nil)
	err := resumed(ctx, func(ctx context.Context) error {
		fragment = fragment[:0] // half of one: it comes again, whole
		stream, err := client.playback.Play(ctx, request)
		for err == nil {
			var answer *recordingv1.PlayResponse
			if answer, err = stream.Recv(); err != nil {
				break
			}
			switch payload := answer.Payload.(type) {
			case *recordingv1.PlayResponse_Header:
				err = played.enter(payload.Header, folder)
			case *recordingv1.PlayResponse_Fragment:
				fragment = append(fragment, payload.Fragment.Data...)
				if payload.Fragment.Last {
					err = played.take(payload.Fragment, fragment)
					fragment = fragment[:0]
				}
			case *recordingv1.PlayResponse_Gap:
				played.Gaps = append(played.Gaps, payload.Gap)
			case *recordingv1.PlayResponse_End:
				played.End = payload.End
			}
			if answer.ResumeToken != "" {
				request.ResumeToken = answer.ResumeToken
			}
		}
		return err
	})
	if err == nil && played.End == nil {
		err = fmt.Errorf("the playback ended without saying so: %w", io.ErrUnexpectedEOF)
	}
	return played, err
}

func (played *Played) enter(header *recordingv1.PlayHeader, folder string) error {
	if count := len(played.Runs); count > 0 && played.Runs[count-1].Run == header.Run {
		return nil // resumed within a run: the header is the one we have
	}
	file := filepath.Join(folder, fmt.Sprintf("%03d-%s.mp4", len(played.Runs), header.Run))
	played.Runs = append(played.Runs, &Run{File: file, Run: header.Run, Codec: header.Codec})
	return os.WriteFile(file, header.Initialization, 0o600)
}

func (played *Played) take(last *recordingv1.PlayFragment, data []byte) error {
	if int64(len(data)) != last.SizeBytes {
		return fmt.Errorf("a fragment of %d bytes came as %d", last.SizeBytes, len(data))
	}
	if len(played.Runs) == 0 {
		return fmt.Errorf("a fragment came before its header")
	}
	run := played.Runs[len(played.Runs)-1]
	digest := sha256.Sum256(data)
	run.Fragments = append(run.Fragments, Fragment{
		StartUs:    last.StartTime.AsTime().UnixMicro(),
		DurationUs: last.Duration.AsDuration().Microseconds(),
		SizeBytes:  len(data),
		SHA256:     hex.EncodeToString(digest[:]),
	})
	return appendTo(run.File, data)
}

// ClipFile is a file that Clip has written and verified.
type ClipFile struct {
	File           string
	SizeBytes      int64
	SHA256         string
	StartUs, EndUs int64
}

// Clip writes one MP4 of exactly the window (several where codec or size changed), and compares
// each with the digest the server gives. Of a clip that fails nothing is left.
func (client *Client) Clip(
	ctx context.Context, camera string, window *commonv1.TimeWindow, purpose *commonv1.Purpose,
	folder string,
) ([]*ClipFile, error) {
	request := &recordingv1.GetClipRequest{Camera: camera, Window: window, Purpose: purpose}
	stream, err := client.playback.GetClip(ctx, request)
	if err != nil {
		return nil, err
	}
	var files []*ClipFile
	var output *os.File
	digest, whole, kept := sha256.New(), false, false
	defer func() {
		_ = output.Close()
		for _, file := range files {
			if !kept { // a part of a clip would be taken for the clip
				_ = os.Remove(file.File)
			}
		}
	}()
	for {
		answer, err := stream.Recv()
		if err == io.EOF && whole {
			kept = true
			return files, nil
		}
		if err == io.EOF {
			return nil, fmt.Errorf("the clip is not whole: %w", io.ErrUnexpectedEOF)
		}
		if err != nil {
			return nil, err
		}
		switch payload := answer.Payload.(type) {
		case *recordingv1.GetClipResponse_File:
			name := filepath.Join(folder, filepath.Base(payload.File.Filename))
			output, err = os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
			if err != nil {
				return nil, err
			}
			digest.Reset()
			files = append(files, &ClipFile{
				File:    name,
				StartUs: payload.File.StartTime.AsTime().UnixMicro(),
				EndUs:   payload.File.EndTime.AsTime().UnixMicro(),
			})
		case *recordingv1.GetClipResponse_Data:
			digest.Write(payload.Data)
			files[len(files)-1].SizeBytes += int64(len(payload.Data))
			if _, err := output.Write(payload.Data); err != nil {
				return nil, err
			}
		case *recordingv1.GetClipResponse_FileEnd:
			files[len(files)-1].SHA256 = hex.EncodeToString(digest.Sum(nil))
			if files[len(files)-1].SHA256 != payload.FileEnd.Sha256 {
				return nil, fmt.Errorf("%s is not what the server sent", output.Name())
			}
			if err := output.Close(); err != nil {
				return nil, err
			}
		case *recordingv1.GetClipResponse_End:
			whole = int(payload.End.FileCount) == len(files)
		}
	}
}

// Watched is what Live has seen.
type Watched struct {
	File            string
	Codec           string
	Frames, Skipped uint32
}

// Live writes live pictures into a file until it holds so many frames, or ctx ends. When the
// camera's parameters change the file begins again, for decode times do.
func (client *Client) Live(
	ctx context.Context, camera string, frames uint32, purpose *commonv1.Purpose, file string,
) (*Watched, error) {
	watched := &Watched{File: file}
	request := &ingestv1.WatchLiveRequest{Camera: camera, Purpose: purpose}
	err := resumed(ctx, func(ctx context.Context) error {
		stream, err := client.live.WatchLive(ctx, request)
		for err == nil {
			var answer *ingestv1.WatchLiveResponse
			if answer, err = stream.Recv(); err != nil {
				break
			}
			switch message := answer.Message.(type) {
			case *ingestv1.WatchLiveResponse_Header:
				watched.Frames, watched.Codec = 0, message.Header.Codec
				err = os.WriteFile(file, message.Header.Data, 0o600)
			case *ingestv1.WatchLiveResponse_Chunk:
				watched.Frames += message.Chunk.SampleCount
				err = appendTo(file, message.Chunk.Data)
				if err == nil && watched.Frames >= frames && !message.Chunk.More {
					err = io.EOF
				}
			case *ingestv1.WatchLiveResponse_Skipped:
				watched.Skipped += message.Skipped.FrameCount
			case *ingestv1.WatchLiveResponse_State:
				fmt.Fprintf(os.Stderr, "%s %s\n",
					time.UnixMicro(message.State.AtUs).UTC().Format(time.RFC3339Nano), message.State.State)
			}
		}
		return err
	})
	return watched, err
}

func appendTo(file string, data []byte) error {
	output, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := output.Write(data); err != nil {
		_ = output.Close()
		return err
	}
	return output.Close()
}
