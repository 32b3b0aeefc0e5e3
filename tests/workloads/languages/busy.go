// Burns some seconds of CPU in what Go programs do: goroutines deep in calls, maps, JSON, the garbage collector.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"sync"
	"syscall"
)

//go:noinline
func down(n int, text []byte) [32]byte {
	if n == 0 {
		return sha256.Sum256(text)
	}
	var room [200]byte
	room[n%200] = byte(n)
	sum := down(n-1, text)
	sum[0] ^= room[n%200]
	return sum
}

func spent() float64 {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		panic("no usage")
	}
	return float64(usage.Utime.Sec) + float64(usage.Utime.Usec)/1e6
}

func work(until float64, done *sync.WaitGroup) {
	defer done.Done()
	text := make([]byte, 4096)
	for spent() < until {
		sum := down(50, text)
		counts := map[string]int{}
		for i := 0; i < 200; i++ {
			counts[fmt.Sprintf("%x%d", sum[:4], i)] = i
		}
		raw, _ := json.Marshal(counts)
		again := map[string]int{}
		if json.Unmarshal(raw, &again) != nil {
			panic("no JSON")
		}
		keys := []string{}
		for key := range again {
			keys = append(keys, key)
		}
		sort.Strings(keys)
	}
}

func main() {
	seconds, _ := strconv.ParseFloat(os.Args[1], 64)
	var done sync.WaitGroup
	for i := 0; i < 4; i++ {
		done.Add(1)
		go work(seconds, &done)
	}
	done.Wait()
}
