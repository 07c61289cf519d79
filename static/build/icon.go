package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
)

// The mark, as icons/icon.svg draws it, in a square of 64 by 64.
var (
	ground = color.NRGBA{0xa5, 0x45, 0x2b, 0xff}
	first  = color.NRGBA{0xff, 0xf6, 0xe9, 0xff}
	second = color.NRGBA{0xf3, 0xb4, 0x8b, 0xff}
	shared = color.NRGBA{0xd9, 0x7a, 0x50, 0xff}
)

// drawIcon draws the mark in a given size. A maskable one fills its square and
// keeps the mark in the middle four fifths, because systems cut it to shape.
func drawIcon(size int, maskable bool) ([]byte, error) {
	const samples = 4
	img := image.NewNRGBA(image.Rect(0, 0, size, size))
	scale := 64 / float64(size)
	for y := range size {
		for x := range size {
			var r, g, b, a float64
			for s := range samples * samples {
				px := (float64(x) + (float64(s%samples)+0.5)/samples) * scale
				py := (float64(y) + (float64(s/samples)+0.5)/samples) * scale
				c := colorAt(px, py, maskable)
				alpha := float64(c.A)
				r, g, b, a = r+float64(c.R)*alpha, g+float64(c.G)*alpha, b+float64(c.B)*alpha, a+alpha
			}
			if a > 0 {
				img.SetNRGBA(x, y, color.NRGBA{uint8(r/a + 0.5), uint8(g/a + 0.5), uint8(b/a + 0.5), uint8(a/(samples*samples) + 0.5)})
			}
		}
	}
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&out, img); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func colorAt(x, y float64, maskable bool) color.NRGBA {
	if !maskable && !inRounded(x, y, 14) {
		return color.NRGBA{}
	}
	// The mark is drawn smaller than the square: 0.62, or 0.52 if it is cut.
	shrink := 0.66
	if maskable {
		shrink = 0.54
	}
	mx, my := (x-32)/shrink+31.5, (y-32)/shrink+32.5
	a := inDisc(mx, my, 24, 30, 20) || inTail(mx, my)
	b := inDisc(mx, my, 42, 33, 17)
	switch {
	case a && b:
		return shared
	case a:
		return first
	case b:
		return second
	}
	return ground
}

// inRounded is the square with round corners.
func inRounded(x, y, radius float64) bool {
	dx := math.Max(radius-math.Min(x, 64-x), 0)
	dy := math.Max(radius-math.Min(y, 64-y), 0)
	return dx*dx+dy*dy <= radius*radius
}

func inDisc(x, y, cx, cy, radius float64) bool {
	return (x-cx)*(x-cx)+(y-cy)*(y-cy) <= radius*radius
}

// inTail is the small corner that makes a speech bubble of the first disc.
func inTail(x, y float64) bool {
	side := func(ax, ay, bx, by float64) float64 { return (bx-ax)*(y-ay) - (by-ay)*(x-ax) }
	one, two, three := side(6.4, 39.5, 4, 54), side(4, 54, 17.6, 48.9), side(17.6, 48.9, 6.4, 39.5)
	return one <= 0 && two <= 0 && three <= 0
}
