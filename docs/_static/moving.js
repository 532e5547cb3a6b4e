// The moving picture of the front page: frames of a strip, each blended into the next
const root = document.querySelector('.moving')
const canvas = root.querySelector('canvas'), button = root.querySelector('button')
const [tiles, frames, size] = ['tiles', 'frames', 'size'].map(k => Number(root.dataset[k]))
const across = () => matchMedia('(max-width: 640px)').matches ? 4 : 6
const pace = 160 // milliseconds from frame to frame
const strip = new Image()
let at = 0, before = null, playing = false, columns = 0

function layout() {
  columns = across()
  canvas.width = columns * size
  canvas.height = tiles / columns * size
  paint()
}

function paint() {
  const c = canvas.getContext('2d'), k = Math.floor(at) % frames
  for (const [frame, alpha] of [[k, 1], [(k + 1) % frames, at - Math.floor(at)]]) {
    c.globalAlpha = alpha
    for (let i = 0; i < tiles; i++) {
      const x = i % columns * size, y = Math.floor(i / columns) * size
      c.drawImage(strip, frame * size, i * size, size, size, x, y, size, size)
    }
  }
}

function move(now) {
  if (!playing) return
  if (before !== null) at = (at + Math.min(200, now - before) / pace) % frames
  before = now
  paint()
  requestAnimationFrame(move)
}

function play(on) {
  playing = on
  before = null
  button.textContent = on ? 'Pause' : 'Play'
  root.dataset.state = on ? 'playing' : 'paused'
  if (on) requestAnimationFrame(move)
}

strip.onload = () => {
  root.querySelector('img').hidden = true
  canvas.hidden = button.hidden = false
  layout()
  window.addEventListener('resize', layout)
  button.onclick = () => play(!playing)
  play(!matchMedia('(prefers-reduced-motion: reduce)').matches)
}
strip.src = new URL('moving.webp', import.meta.url)
