// SPDX-License-Identifier: EUPL-1.2

package eventlog

import "codeberg.org/holdfast/holdfast/packed"

// # Parts that travel packed
//
// Pages of an alarm are hundreds of receipts that differ in a few numbers, and on a slow line they decide how soon the other
// sites know who has been called. So where the line is slow, a part of a stretch is asked for packed. How much
// of the stretch goes into an answer of the size that the line takes is learned from the answers before: see gain.

// gain is how many bytes of a stretch one byte of an answer has been worth lately; 0 is unknown, and counts as one.
type gain float64

// maxGain bounds what is expected of the next answer.
const maxGain = 8

// minPacked is how short a part is not worth packing, and says nothing of the next one.
const minPacked = 512

// raw returns how much of a stretch to ask for in an answer of that size.
func (g gain) raw(size int) int {
	return min(int(float64(size)*max(1, 0.95*float64(g))), maxAnswerBytes)
}

// next returns the gain after an answer that might have had so many bytes, had so many, and was so many of a stretch. The
// short end of a log does not make it fall.
func (g gain) next(asked, bytes, raw int) gain {
	if bytes <= 0 || raw < minPacked {
		return g
	}
	sample := gain(min(float64(raw)/float64(bytes), maxGain))
	if sample < g && bytes < asked/2 {
		return g
	}
	if g == 0 || sample < g {
		return sample // an answer that is shorter than expected makes the question behind it worthless
	}
	return (3*g + sample) / 4
}

// packPart returns as much of a part as fits into so many bytes, packed if that makes it shorter, and how much that is. It
// rather gives a quarter more than it cuts the part: the asker has already asked for what follows all of it.
func packPart(part []byte, most int) (body []byte, shorter bool, used int) {
	used = len(part)
	for range 2 {
		if used < minPacked {
			break
		}
		body = packed.Deflate(part[:used])
		if len(body) <= most+most/4 && len(body) < used {
			return body, true, used
		}
		// Not as dense as the asker thought: as much as would fit if it is as dense everywhere.
		used = min(used, int(float64(used)*0.9*float64(most)/float64(len(body))))
	}
	used = min(len(part), most)
	return part[:used], false, used
}

// unpack returns the part of that length, and errAnswer if the bytes do not hold exactly that.
func unpack(b []byte, length int) ([]byte, error) {
	if length < 0 || length > maxAnswerBytes {
		return nil, errAnswer.Because("a part of %d bytes", length)
	}
	part, err := packed.Inflate(b, length)
	if err != nil || len(part) != length {
		return nil, errAnswer.Because("a packed part has %d bytes instead of %d", len(part), length).With(err)
	}
	return part, nil
}
