// A small client in Go: lists cameras, watches stream status, reads a timeline, plays, watches
// live, takes a clip, all at one address. Every answer is a line of JSON; media go into files.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	commonv1 "vigie.example/client/gen/vigie/common/v1"
	ingestv1 "vigie.example/client/gen/vigie/ingest/v1"
	recordingv1 "vigie.example/client/gen/vigie/recording/v1"
	registryv1 "vigie.example/client/gen/vigie/registry/v1"
)

const usage = `client [options] VERB
  cameras                        every camera I may see
  streams [CAMERA...]            status of streams, until all is told; with -follow: and changes
  timeline CAMERA FROM TO        what is stored and what is missing, and why
  play CAMERA FROM TO            stored footage, a file for each run
  clip CAMERA FROM TO            one file of exactly this window
  live CAMERA                    live pictures, until there are -frames
Instants are RFC 3339, in UTC. Options:
`

type options struct {
	folder  string
	frames  uint
	follow  bool
	purpose *commonv1.Purpose
}

func main() {
	address := flag.String("address", "127.0.0.1:7443", "host:port of Vigie")
	caFile := flag.String("ca-file", "", "authority to trust, PEM (default: those of the machine)")
	tokenFile := flag.String("token-file", "", "file with the bearer token")
	purpose := flag.String("purpose", "", "why you look at footage; kept on record")
	caseReference := flag.String("case", "", "number of the procedure")
	var chosen options
	flag.StringVar(&chosen.folder, "output", ".", "folder for files")
	flag.UintVar(&chosen.frames, "frames", 50, "live: how many")
	flag.BoolVar(&chosen.follow, "follow", false, "streams: go on with changes")
	flag.Usage = func() { fmt.Fprint(os.Stderr, usage); flag.PrintDefaults() }
	flag.Parse()
	chosen.purpose = &commonv1.Purpose{Text: *purpose, CaseReference: *caseReference}

	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, *address, *tokenFile, *caFile, chosen, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, Explain(err))
		cancel()
		os.Exit(1)
	}
}

func run(ctx context.Context, address, tokenFile, caFile string, chosen options, words []string) error {
	if len(words) == 0 {
		flag.Usage()
		return flag.ErrHelp
	}
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return err
	}
	client, err := Dial(address, strings.TrimSpace(string(token)), caFile)
	if err != nil {
		return err
	}
	defer client.Close()
	verb, words := words[0], words[1:]
	switch {
	case verb == "cameras" && len(words) == 0:
		return client.Cameras(ctx, printCamera)
	case verb == "streams":
		return streams(ctx, client, words, chosen)
	case verb == "live" && len(words) == 1:
		file := filepath.Join(chosen.folder, "live.mp4")
		watched, err := client.Live(ctx, cameraName(words[0]), uint32(chosen.frames), chosen.purpose, file)
		if err != nil {
			return err
		}
		return print(watched)
	case len(words) == 3:
		return stored(ctx, client, verb, words, chosen)
	}
	return fmt.Errorf("%s: not understood, see -help", verb)
}

// stored does what is done with a camera and a window.
func stored(ctx context.Context, client *Client, verb string, words []string, chosen options) error {
	camera := cameraName(words[0])
	window, err := windowOf(words[1], words[2])
	if err != nil {
		return err
	}
	switch verb {
	case "timeline":
		return client.Timeline(ctx, camera, window, printEntry)
	case "play":
		played, err := client.Play(ctx, camera, window, chosen.purpose, chosen.folder)
		if err != nil {
			return err
		}
		return print(map[string]any{
			"Runs": played.Runs, "Gaps": len(played.Gaps),
			"End": played.End.Reason.String(), "FragmentCount": played.End.FragmentCount,
		})
	case "clip":
		files, err := client.Clip(ctx, camera, window, chosen.purpose, chosen.folder)
		if err != nil {
			return err
		}
		return print(files)
	}
	return fmt.Errorf("%s: not understood, see -help", verb)
}

func streams(ctx context.Context, client *Client, words []string, chosen options) error {
	names := make([]string, len(words))
	for i, word := range words {
		names[i] = cameraName(word)
	}
	return client.WatchStreams(ctx, names, func(stream *ingestv1.Stream) error {
		if stream == nil { // everything known so far has been told
			if chosen.follow {
				return nil
			}
			return io.EOF
		}
		return print(map[string]any{
			"Name": stream.Name, "State": stream.State.String(), "Cause": stream.Cause.String(),
			"Codec": stream.Codec, "Width": stream.Width, "Height": stream.Height, "Run": stream.Run,
		})
	})
}

func printCamera(camera *registryv1.Camera) error {
	return print(map[string]any{
		"Name": camera.Name, "DisplayName": camera.DisplayName, "Zone": camera.Zone,
		"Lifecycle": camera.Lifecycle.String(), "Revision": camera.Revision,
	})
}

func printEntry(entry *recordingv1.TimelineEntry) error {
	return print(map[string]any{
		"Kind": entry.Kind.String(), "Run": entry.Run, "Cause": entry.Cause.String(),
		"StartUs": entry.StartTime.AsTime().UnixMicro(), "EndUs": entry.EndTime.AsTime().UnixMicro(),
		"Detail": entry.Detail,
	})
}

// print writes one line of JSON.
func print(value any) error { return json.NewEncoder(os.Stdout).Encode(value) }
