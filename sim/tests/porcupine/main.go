// Judges histories as `holdfast-sim history --format porcupine` prints them: one line a file, Ok or Illegal.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

type record struct {
	Client   int               `json:"client"`
	Call     int64             `json:"call"`
	Return   int64             `json:"return"`
	Revision int64             `json:"revision"`
	Set      map[string]string `json:"set"`
	Saw      map[string]string `json:"saw"`
}

type state struct {
	revision int64
	values   map[string]string
}

const never = "0x0000000000000000"

// A write makes the next revision; a read sees every register as it is, at its revision.
func step(from, input, _ any) (bool, any) {
	s, r := from.(state), input.(record)
	if r.Set == nil {
		for key, value := range r.Saw {
			now, known := s.values[key]
			if !known {
				now = never
			}
			if now != value {
				return false, s
			}
		}
		return s.revision == r.Revision, s
	}
	if r.Revision != s.revision+1 {
		return false, s
	}
	next := state{r.Revision, map[string]string{}}
	for key, value := range s.values {
		next.values[key] = value
	}
	for key, value := range r.Set {
		next.values[key] = value
	}
	return true, next
}

func judge(path string) (porcupine.CheckResult, error) {
	file, err := os.Open(path)
	if err != nil {
		return porcupine.Unknown, err
	}
	defer file.Close()
	var history []porcupine.Operation
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var r record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return porcupine.Unknown, fmt.Errorf("%s: %w", path, err)
		}
		if r.Return < 0 {
			r.Return = math.MaxInt64
		}
		history = append(history, porcupine.Operation{ClientId: r.Client, Input: r, Call: r.Call, Return: r.Return})
	}
	model := porcupine.Model{
		Init: func() any { return state{1, nil} },
		Step: step,
		// Each revision has one writer, so that it says what the registers are.
		Equal: func(a, b any) bool { return a.(state).revision == b.(state).revision },
	}
	return porcupine.CheckOperationsTimeout(model, history, 30*time.Second), lines.Err()
}

func main() {
	for _, path := range os.Args[1:] {
		result, err := judge(path)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(result)
	}
}
